/**
 * What an account asked for and used: each request, and sums of them.
 *
 * @since 0.1.0
 */
import { Clock, Effect } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Identity } from "../identity/Identity.ts"
import { RequestLog } from "../usage/RequestLog.ts"
import { RequestOutcome } from "../usage/RequestRow.ts"
import { UsageReports, type UsageReportsError } from "../usage/UsageReports.ts"
import { account } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { cursors, handled, json, list, page } from "./Handled.ts"
import { readTime, readUsageQuery } from "./UsageQuery.ts"
import { encodeTable } from "./UsageTable.ts"

const unavailable = () => ApiError.make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")

const fromReports = (error: UsageReportsError): ApiError.ApiError =>
  error.reason === "unavailable" ? unavailable() : ApiError.invalid(error.message, "group_by", "PARAMETER_OUT_OF_RANGE")

const readOutcome = (text: string | undefined) => {
  const { literals } = RequestOutcome
  const known = text === undefined || literals.some((outcome) => outcome === text)
  return known ? Effect.succeed(text) : Effect.fail(ApiError.invalid(`\`outcome\` must be one of ${literals.join(", ")}.`, "outcome"))
}

const readStatus = (text: string | undefined) => {
  if (text === undefined) return Effect.succeed(undefined)
  return /^[1-5]\d\d$/.test(text)
    ? Effect.succeed(Number(text))
    : Effect.fail(ApiError.invalid("`status` must be an HTTP status.", "status"))
}

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "usage",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const log = yield* RequestLog
    const reports = yield* UsageReports

    const report = Effect.fnUntraced(function* (
      request: HttpServerRequest.HttpServerRequest,
      query: Parameters<typeof readUsageQuery>[0] & { readonly format?: string | undefined }
    ) {
      const { accountId } = yield* account(identity, request, "usage:read")
      const { format = "json" } = query
      if (format !== "json" && format !== "csv") return yield* Effect.fail(ApiError.invalid("`format` must be json or csv.", "format"))
      const wanted = yield* readUsageQuery(query, yield* Clock.currentTimeMillis)
      const { groups, total } = yield* Effect.mapError(reports.report(accountId, wanted), fromReports)
      if (format === "csv") {
        const headers = { "content-disposition": 'attachment; filename="usage.csv"' }
        return HttpServerResponse.text(yield* encodeTable(wanted.groupBy, groups), { contentType: "text/csv; charset=utf-8", headers })
      }
      return json({
        object: "list",
        data: groups.map(({ group, ...sums }) => ({ ...group, ...sums })),
        next_cursor: null,
        group_by: wanted.groupBy,
        from: new Date(wanted.from).toISOString(),
        to: new Date(wanted.to).toISOString(),
        total
      })
    })

    return handlers
      .handleRaw("requests", ({ query, request }) =>
        Effect.gen(function* () {
          const { accountId } = yield* account(identity, request, "usage:read")
          const { key, model, provider } = query
          const [from, to] = [yield* readTime("from", query.from), yield* readTime("to", query.to)]
          const wanted = {
            model,
            provider,
            key,
            outcome: yield* readOutcome(query.outcome),
            status: yield* readStatus(query.status),
            from,
            to
          }
          const found = yield* Effect.mapError(log.list(accountId, { ...wanted, ...(yield* page(query, cursors.byId)) }), unavailable)
          return list(found.data, found.next)
        }).pipe(handled)
      )
      .handleRaw("request", ({ params, request }) =>
        Effect.gen(function* () {
          const { accountId } = yield* account(identity, request, "usage:read")
          const row = yield* Effect.mapError(log.get(accountId, params.id), unavailable)
          return row === null ? yield* Effect.fail(ApiError.notFound("There is no such request.")) : json(row)
        }).pipe(handled)
      )
      .handleRaw("usage", ({ query, request }) => handled(report(request, query)))
  })
)
