/**
 * Reads a JSON body within its bounds: size, UTF-8, depth.
 *
 * @since 0.1.0
 */
import { Context, Effect, Result } from "effect"
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
  if (text.length <= limit) return false
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

const refuseContentType = (headers: HttpServerRequest.HttpServerRequest["headers"]): ApiError.ApiError | null => {
  const { "content-encoding": coding, "content-type": typed } = headers
  if (coding === undefined && typed === "application/json") return null
  const encoding = coding?.trim().toLowerCase() ?? ""
  if (encoding !== "" && encoding !== "identity") {
    return ApiError.make(415, "unsupported_media_type", `The body must be sent as it is, not in the encoding ${encoding.slice(0, 100)}.`)
  }
  const type = typed?.split(";")[0]?.trim().toLowerCase()
  return type === undefined || type === "" || contentTypes.includes(type) || type.endsWith("+json")
    ? null
    : ApiError.make(415, "unsupported_media_type", `The content type must be application/json, not ${type.slice(0, 100)}.`)
}

/** Reads a body within its size, and makes something of its text. */
const readAs = <A>(
  request: HttpServerRequest.HttpServerRequest,
  make: (text: string, bounds: BodyBounds) => Result.Result<A, ApiError.ApiError>
): Effect.Effect<A, ApiError.ApiError> =>
  Effect.withFiber((fiber) => {
    const bounds = fiber.getRef(BodyBounds)
    const declared = request.headers["content-length"]
    if (declared !== undefined && Number(declared) > bounds.maxBytes) return Effect.fail(tooLarge(bounds))
    return Effect.matchEffect(fiber.getRef(BodyBytes)(request, bounds.maxBytes), {
      onFailure: (error) => Effect.fail(fromFailure(error, bounds)),
      onSuccess: (bytes) => {
        const text = decodeText(bytes)
        return text === null ? Effect.fail(notUtf8) : Effect.fromResult(make(text, bounds))
      }
    })
  })

const refuseJson = (message: string): ApiError.ApiError => ApiError.invalid(message, null, "INVALID_JSON")
const notUtf8 = refuseJson("The body is not valid UTF-8.")
const empty = refuseJson("The body is empty; a JSON object is needed.")
const notJson = refuseJson("The body is not valid JSON.")
const notAnObject = refuseJson("The JSON body must be an object.")

/** The text of a body, within its size and in valid UTF-8. @category readers @since 0.1.0 */
export const readText = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string, ApiError.ApiError> =>
  readAs(request, (text) => Result.succeed(text))

/** What `decode` makes of the JSON object in the body. @category readers @since 0.1.0 */
export const readJson = <A>(
  request: HttpServerRequest.HttpServerRequest,
  decode: (body: Json.JsonObject) => Result.Result<A, ApiError.ApiError>
): Effect.Effect<A, ApiError.ApiError> => {
  const refused = refuseContentType(request.headers)
  if (refused !== null) return Effect.fail(refused)
  return readAs(request, (text, { maxDepth }) => {
    if (isDeeperThan(text, maxDepth)) return Result.fail(refuseJson(`The JSON body nests deeper than ${maxDepth} levels.`))
    const value = Json.parse(text)
    if (value === undefined) return Result.fail(text.trim() === "" ? empty : notJson)
    return Json.isObject(value) ? decode(value) : Result.fail(notAnObject)
  })
}

/** A JSON object out of the body. @category readers @since 0.1.0 */
export const readJsonObject = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<Json.JsonObject, ApiError.ApiError> =>
  readJson(request, (body) => Result.succeed(body))
