/**
 * What the handlers of routes share: bodies decoded by Schema, pages, and failures turned into answers.
 *
 * @since 0.1.0
 */
import { Effect, Exit, type Schema, SchemaIssue, SchemaParser } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import type * as Json from "../../schemas/Json.ts"
import * as ApiError from "./ApiError.ts"
import { readJsonObject } from "./RequestBody.ts"

/** An answer, also where the effect failed. @category conversions @since 0.1.0 */
export const handled = <R>(
  effect: Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.catch(effect, (error) => Effect.succeed(ApiError.toResponse(error)))

/** @category conversions @since 0.1.0 */
export const json = (body: unknown, status = 200): HttpServerResponse.HttpServerResponse => HttpServerResponse.jsonUnsafe(body, { status })

/** Where a body holds text that no database keeps: a zero character, half of a surrogate pair; null where there is none. */
const unstorable = (value: Json.Json, path: string): string | null => {
  if (typeof value === "string") return value.includes("\u0000") || !value.isWellFormed() ? path : null
  if (typeof value !== "object" || value === null) return null
  for (const [key, inner] of Object.entries(value)) {
    const found = unstorable(key, path) ?? unstorable(inner, path === "" ? key : `${path}.${key}`)
    if (found !== null) return found
  }
  return null
}

/**
 * A body as a schema has it, its text such as can be kept; 400 says what is wrong and where. `refuse`: what the schema would pass
 * over.
 *
 * @category readers
 * @since 0.1.0
 */
export const decodeBody = <S extends Schema.Decoder<unknown>>(
  schema: S,
  refuse: (body: Json.JsonObject) => ApiError.ApiError | null = () => null
) => {
  const decode = SchemaParser.decodeUnknownExit(schema)
  return Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest): Effect.fn.Return<S["Type"], ApiError.ApiError> {
    const body = yield* readJsonObject(request)
    const bad = unstorable(body, "")
    if (bad !== null) return yield* Effect.fail(notText(bad))
    const refused = refuse(body)
    if (refused !== null) return yield* Effect.fail(refused)
    const decoded = decode(body)
    return Exit.isSuccess(decoded) ? decoded.value : yield* Effect.fail(issueToError(decoded))
  })
}

const notText = (path: string): ApiError.ApiError =>
  ApiError.invalid(`${path === "" ? "The body" : `\`${path}\``} holds a character that is no text.`, path === "" ? null : path)

const describe = SchemaIssue.makeFormatterStandardSchemaV1()

const issueToError = (exit: Exit.Failure<unknown, SchemaIssue.Issue>): ApiError.ApiError => {
  for (const reason of exit.cause.reasons) {
    if (reason._tag !== "Fail") continue
    const issue = describe(reason.error).issues[0]
    const path = (issue?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".")
    return ApiError.invalid(
      `${path === "" ? "The body" : `\`${path}\``}: ${issue?.message ?? "not as expected"}`,
      path === "" ? null : path
    )
  }
  return ApiError.invalid("The body is not as expected.")
}

/** How the cursors of lists look: counted, or by id. @category models @since 0.1.0 */
export const cursors = {
  counted: /^\d{1,18}$/,
  byId: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
}

/** @category models @since 0.1.0 */
export interface PageRequest {
  readonly limit?: string | undefined
  readonly cursor?: string | undefined
}

/** @category errors @since 0.1.0 */
export const badCursor: ApiError.ApiError = ApiError.invalid("`cursor` must be what a list gave as `next_cursor`.", "cursor")

/** `limit` and `cursor` of a list. @category readers @since 0.1.0 */
export const page = (
  query: PageRequest,
  shape: RegExp
): Effect.Effect<{ readonly limit: number; readonly cursor: string | null }, ApiError.ApiError> => {
  const limit = query.limit === undefined ? 100 : /^\d{1,4}$/.test(query.limit) ? Number(query.limit) : 0
  if (limit < 1 || limit > 1_000) {
    return Effect.fail(ApiError.invalid("`limit` must be a whole number from 1 to 1000.", "limit", "PARAMETER_OUT_OF_RANGE"))
  }
  const cursor = query.cursor === undefined || query.cursor === "" ? null : query.cursor
  return cursor === null || shape.test(cursor) ? Effect.succeed({ limit, cursor }) : Effect.fail(badCursor)
}

/** @category conversions @since 0.1.0 */
export const list = (data: ReadonlyArray<unknown>, next: string | null = null): HttpServerResponse.HttpServerResponse =>
  json({ object: "list", data, next_cursor: next })

/**
 * A list that stands as a whole: all of it, or the page that is asked for, after the row whose key is the cursor.
 *
 * @category conversions
 * @since 0.1.0
 */
export const listWhole = Effect.fnUntraced(function* <A>(
  rows: ReadonlyArray<A>,
  query: PageRequest,
  keyOf: (row: A) => string
): Effect.fn.Return<HttpServerResponse.HttpServerResponse, ApiError.ApiError> {
  if (query.limit === undefined && query.cursor === undefined) return list(rows)
  const { cursor, limit } = yield* page(query, /./)
  const at = cursor === null ? -1 : rows.findIndex((row) => keyOf(row) === cursor)
  if (cursor !== null && at < 0) return yield* Effect.fail(badCursor)
  const shown = rows.slice(at + 1, at + 1 + limit)
  const last = shown.at(-1)
  return list(shown, last === undefined || at + 1 + limit >= rows.length ? null : keyOf(last))
})
