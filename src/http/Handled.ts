/**
 * What the handlers of routes share: bodies decoded by Schema, pages, and failures turned into answers.
 *
 * @since 0.1.0
 */
import { Effect, Exit, type Schema, SchemaIssue, SchemaParser } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import * as ApiError from "./ApiError.ts"
import { readJsonObject } from "./RequestBody.ts"

/** An answer, also where the effect failed. @category conversions @since 0.1.0 */
export const handled = <R>(
  effect: Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.catch(effect, (error) => Effect.succeed(ApiError.toResponse(error)))

/** @category conversions @since 0.1.0 */
export const json = (body: unknown, status = 200): HttpServerResponse.HttpServerResponse => HttpServerResponse.jsonUnsafe(body, { status })

/** A body as a schema has it; 400 says what is wrong and where. @category readers @since 0.1.0 */
export const decodeBody = <S extends Schema.Decoder<unknown>>(schema: S) => {
  const decode = SchemaParser.decodeUnknownExit(schema)
  return Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest): Effect.fn.Return<S["Type"], ApiError.ApiError> {
    const body = yield* readJsonObject(request)
    const decoded = decode(body)
    return Exit.isSuccess(decoded) ? decoded.value : yield* Effect.fail(issueToError(decoded))
  })
}

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

/** `limit` and `cursor` of a list. @category readers @since 0.1.0 */
export const page = (query: {
  readonly limit?: string | undefined
  readonly cursor?: string | undefined
}): Effect.Effect<{ readonly limit: number; readonly cursor: string | null }, ApiError.ApiError> => {
  const limit = query.limit === undefined ? 100 : Number(query.limit)
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) {
    return Effect.fail(ApiError.invalid("`limit` must be a whole number from 1 to 1000.", "limit", "PARAMETER_OUT_OF_RANGE"))
  }
  return Effect.succeed({ limit, cursor: query.cursor ?? null })
}

/** @category conversions @since 0.1.0 */
export const list = (data: ReadonlyArray<unknown>, next: string | null = null): HttpServerResponse.HttpServerResponse =>
  json({ object: "list", data, next_cursor: next })
