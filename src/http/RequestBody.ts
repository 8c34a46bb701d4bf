/**
 * Reads a JSON body within its bounds: size, UTF-8, depth.
 *
 * @since 0.1.0
 */
import { Context, Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import * as Json from "../../schemas/Json.ts"
import * as ApiError from "./ApiError.ts"
import { BodyBytes, type BodyFailed } from "./BodyBytes.ts"

/** Bounds on what a caller may send. @category models @since 0.1.0 */
export interface BodyBounds {
  readonly maxBytes: number
  readonly maxDepth: number
}

/** @category references @since 0.1.0 */
export const BodyBounds = Context.Reference<BodyBounds>("sluice/http/BodyBounds", {
  defaultValue: () => ({ maxBytes: 33_554_432, maxDepth: 256 })
})

const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Whether brackets nest deeper than `limit`, strings left aside. Looks before the parser does, so depth costs no stack. @category predicates @since 0.1.0 */
export const isDeeperThan = (text: string, limit: number): boolean => {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      // Jumps from quote to quote; an escaped one has an odd run of backslashes before it.
      for (i = text.indexOf('"', i + 1); i !== -1; i = text.indexOf('"', i + 1)) {
        let slashes = 0
        while (text.charCodeAt(i - 1 - slashes) === BACKSLASH) slashes++
        if (slashes % 2 === 0) break
      }
      if (i === -1) return false
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (++depth > limit) return true
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--
  }
  return false
}

const tooLarge = (bounds: BodyBounds): ApiError.ApiError =>
  ApiError.make(413, "REQUEST_TOO_LARGE", `The body is larger than ${bounds.maxBytes} bytes.`)

const fromFailure = ({ why }: BodyFailed, bounds: BodyBounds): ApiError.ApiError =>
  why === "too_large" ? tooLarge(bounds) : ApiError.invalid("The body could not be read to its end.", null, "INVALID_BODY")

const utf8 = new TextDecoder("utf-8", { fatal: true })

const decodeText = (bytes: Uint8Array): string | null => {
  try {
    return utf8.decode(bytes)
  } catch {
    return null
  }
}

const contentTypes = ["application/json", "text/json"]

const refuseContentType = (request: HttpServerRequest.HttpServerRequest): ApiError.ApiError | null => {
  const encoding = request.headers["content-encoding"]?.trim().toLowerCase() ?? ""
  if (encoding !== "" && encoding !== "identity") {
    return ApiError.make(415, "unsupported_media_type", `The body must be sent as it is, not in the encoding ${encoding.slice(0, 100)}.`)
  }
  const type = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase()
  return type === undefined || type === "" || contentTypes.includes(type) || type.endsWith("+json")
    ? null
    : ApiError.make(415, "unsupported_media_type", `The content type must be application/json, not ${type.slice(0, 100)}.`)
}

/** The text of a body, within its size and in valid UTF-8. @category readers @since 0.1.0 */
export const readText = Effect.fnUntraced(function* (
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<string, ApiError.ApiError> {
  const bounds = yield* BodyBounds
  const declared = Number(request.headers["content-length"] ?? 0)
  if (declared > bounds.maxBytes) return yield* Effect.fail(tooLarge(bounds))
  const read = yield* BodyBytes
  const bytes = yield* Effect.mapError(read(request, bounds.maxBytes), (error) => fromFailure(error, bounds))
  const text = decodeText(bytes)
  return text === null ? yield* Effect.fail(ApiError.invalid("The body is not valid UTF-8.", null, "INVALID_JSON")) : text
})

/** A JSON object out of the body. @category readers @since 0.1.0 */
export const readJsonObject = Effect.fnUntraced(function* (
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<Json.JsonObject, ApiError.ApiError> {
  const refused = refuseContentType(request)
  if (refused !== null) return yield* Effect.fail(refused)
  const text = yield* readText(request)
  const { maxDepth } = yield* BodyBounds
  if (text.trim() === "") return yield* Effect.fail(ApiError.invalid("The body is empty; a JSON object is needed.", null, "INVALID_JSON"))
  if (isDeeperThan(text, maxDepth)) {
    return yield* Effect.fail(ApiError.invalid(`The JSON body nests deeper than ${maxDepth} levels.`, null, "INVALID_JSON"))
  }
  const value = Json.parse(text)
  if (value === undefined) return yield* Effect.fail(ApiError.invalid("The body is not valid JSON.", null, "INVALID_JSON"))
  return Json.isObject(value) ? value : yield* Effect.fail(ApiError.invalid("The JSON body must be an object.", null, "INVALID_JSON"))
})
