/**
 * Reads the form of an upload within its bounds: one file, a few fields, in any order.
 *
 * @since 0.1.0
 */
import { ByteSize, Effect, Stream } from "effect"
import { HttpIncomingMessage, type HttpServerRequest, Multipart } from "effect/http"
import * as ApiError from "./ApiError.ts"
import { BodyBounds } from "./RequestBody.ts"

/** A form as it was sent. @category models @since 0.1.0 */
export interface AudioForm {
  readonly file: Uint8Array
  readonly fileName: string
  readonly contentType: string
  /** In their order; a name may come twice. */
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
}

const MEBIBYTE = 1_024 * 1_024

/** Bytes of a recording. */
const MAX_FILE = 25 * MEBIBYTE

/** Bytes of one field, and parts of a form. */
const MAX_FIELD = 256 * 1_024
const MAX_PARTS = 64

const tooLarge = (what: string, bytes: number, param: string | null) =>
  ApiError.make(
    413,
    "REQUEST_TOO_LARGE",
    `${what} is larger than ${bytes} bytes${bytes < MEBIBYTE ? "" : ` (${Math.floor(bytes / MEBIBYTE)} MB)`}.`,
    { param }
  )

const fromMultipart = (error: Multipart.MultipartError, maxBytes: number): ApiError.ApiError => {
  switch (error.reason._tag) {
    case "FileTooLarge":
    case "BodyTooLarge":
      return tooLarge("The body", maxBytes, null)
    case "FieldTooLarge":
      return tooLarge("A field of the form", MAX_FIELD, null)
    case "TooManyParts":
      return ApiError.invalid(`The form has more than ${MAX_PARTS} parts.`, null, "INVALID_BODY")
    case "InternalError":
    case "Parse":
      return ApiError.invalid("The form could not be read: it is not whole, or not multipart/form-data.", null, "INVALID_BODY")
  }
}

const refuseContentType = (request: HttpServerRequest.HttpServerRequest): ApiError.ApiError | null => {
  const type = request.headers["content-type"] ?? ""
  if (!/^multipart\/form-data\b/i.test(type)) {
    const got = type === "" ? "" : `, not ${type.split(";")[0]?.slice(0, 100)}`
    return ApiError.make(
      415,
      "unsupported_media_type",
      `The content type must be multipart/form-data${got}. Send the recording as the field \`file\`.`
    )
  }
  return /;\s*boundary=/i.test(type) ? null : ApiError.invalid("The content type names no boundary.", null, "INVALID_BODY")
}

/** What has been read so far. */
class Parts {
  readonly fields: Array<readonly [string, string]> = []
  file: Multipart.File | null = null
  refused: ApiError.ApiError | null = null
  private readonly chunks: Array<Uint8Array> = []
  private bytes = 0
  private readonly maxFile: number

  constructor(maxFile: number) {
    this.maxFile = maxFile
  }

  /** The rest of a form that is refused is read and left, so that its sender gets to read the answer. */
  readonly read = (part: Multipart.Part): Effect.Effect<void, Multipart.MultipartError> => {
    if (part._tag === "Field") {
      if (part.key === "file")
        this.refuse(ApiError.invalid("`file` must be a file with a name, not a text.", "file", "INVALID_PARAMETER_TYPE"))
      this.fields.push([part.key, part.value])
      return Effect.void
    }
    if (part.key !== "file")
      this.refuse(ApiError.invalid(`There is no field \`${part.key.slice(0, 100)}\` that takes a file.`, part.key.slice(0, 100)))
    else if (this.file !== null) this.refuse(ApiError.invalid("The form has more than one `file`.", "file"))
    else this.file = part
    return Stream.runForEach(part.content, (chunk) => Effect.sync(() => this.keep(chunk)))
  }

  private refuse(error: ApiError.ApiError): void {
    this.refused ??= error
  }

  private keep(chunk: Uint8Array): void {
    this.bytes += chunk.length
    if (this.bytes > this.maxFile) this.refuse(tooLarge("The file", this.maxFile, "file"))
    if (this.refused === null) this.chunks.push(chunk)
    else this.chunks.length = 0
  }

  whole(): Uint8Array {
    const all = new Uint8Array(this.bytes)
    let at = 0
    for (const chunk of this.chunks) {
      all.set(chunk, at)
      at += chunk.length
    }
    return all
  }
}

/** @category readers @since 0.1.0 */
export const readForm = Effect.fnUntraced(function* (
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<AudioForm, ApiError.ApiError> {
  const unread = refuseContentType(request)
  if (unread !== null) return yield* Effect.fail(unread)
  const { maxBytes } = yield* BodyBounds
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return yield* Effect.fail(tooLarge("The body", maxBytes, null))
  const parts = new Parts(MAX_FILE)
  yield* Stream.runForEach(request.multipartStream, parts.read).pipe(
    Effect.provideService(Multipart.MaxParts, MAX_PARTS),
    Effect.provideService(Multipart.MaxFieldSize, ByteSize.bytes(MAX_FIELD)),
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(maxBytes)),
    Effect.mapError((error) => fromMultipart(error, maxBytes))
  )
  const { fields, file, refused } = parts
  if (refused !== null) return yield* Effect.fail(refused)
  if (file === null) return yield* Effect.fail(ApiError.invalid("`file` is missing.", "file", "MISSING_REQUIRED_FIELD"))
  const bytes = parts.whole()
  if (bytes.length === 0) return yield* Effect.fail(ApiError.invalid("`file` is empty.", "file"))
  return { file: bytes, fileName: file.name, contentType: file.contentType, fields }
})
