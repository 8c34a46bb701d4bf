/**
 * The status page as JSON, for everybody, and incidents for the operator.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import type { Incident } from "../../schemas/Health.ts"
import { HealthBook, type HealthBookError, type IncidentQuery } from "../health/HealthBook.ts"
import type { Health } from "../health/HealthRecord.ts"
import { PassiveHealth } from "../health/PassiveHealth.ts"
import { Probes } from "../health/Probes.ts"
import { ProviderBalances } from "../health/ProviderBalances.ts"
import { type UptimeGroup, uptimeGroups } from "../health/UptimeReports.ts"
import { Identity } from "../identity/Identity.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { PublishedHealth } from "../routing/PublishedHealth.ts"
import { operator } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { cursors, decodeBody, handled, json, list, page } from "./Handled.ts"
import { ProbeRequest } from "./StatusApi.ts"
import { StatusPage } from "./StatusPage.ts"

type Query = Readonly<Record<string, string | undefined>>

const DAYS_MAX = 365

const days = (query: Query, fallback: number): Effect.Effect<number, ApiError.ApiError> => {
  const value = query["days"] === undefined ? fallback : Number(query["days"])
  return Number.isInteger(value) && value >= 1 && value <= DAYS_MAX
    ? Effect.succeed(value)
    : Effect.fail(ApiError.invalid(`\`days\` must be a whole number from 1 to ${DAYS_MAX}.`, "days", "PARAMETER_OUT_OF_RANGE"))
}

const unavailable = ApiError.make(503, "SERVICE_UNAVAILABLE", "History cannot be read now: the database does not answer.")

const read = <A>(effect: Effect.Effect<A, HealthBookError>) => Effect.mapError(effect, () => unavailable)

/** A part of a list that stands as a whole. */
const paged = Effect.fnUntraced(function* (rows: ReadonlyArray<unknown>, query: Query) {
  const { cursor, limit } = yield* page({ limit: query["limit"], cursor: query["cursor"] }, cursors.counted)
  const from = Number(cursor ?? 0)
  return list(rows.slice(from, from + limit), from + limit < rows.length ? String(from + limit) : null)
})

const shown = ({ error: _, ...incident }: Incident) => incident

const count = (states: ReadonlyArray<{ readonly status: string }>) => {
  const of = (status: string) => states.filter((state) => state.status === status).length
  return { total: states.length, healthy: of("healthy"), degraded: of("degraded"), down: of("down"), unknown: of("unknown") }
}

const recentOf = (health: Health | null) =>
  health === null
    ? null
    : {
        uptime: health.uptime,
        successes: health.successes,
        failures: health.failures,
        limited: health.limited,
        consecutive_failures: health.consecutiveFailures,
        latency_p50_ms: health.latencyP50,
        first_chunk_p50_ms: health.firstChunkP50,
        tokens_per_second_p50: health.tokensPerSecondP50
      }

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "status",
  Effect.fnUntraced(function* (handlers) {
    const status = yield* StatusPage
    const book = yield* HealthBook
    const identity = yield* Identity
    const registry = yield* ProviderRegistry
    const probes = yield* Probes
    const balances = yield* ProviderBalances
    const breakers = yield* Breakers
    const passive = yield* PassiveHealth
    const seen = yield* PublishedHealth

    const incidentQuery = (query: Query & { readonly status?: Incident["status"] | undefined }) =>
      Effect.map(
        page({ limit: query["limit"], cursor: query["cursor"] }, cursors.counted),
        (wanted): IncidentQuery => ({ ...wanted, status: query.status, provider: query["provider"], model: query["model"] })
      )

    const overall = Effect.gen(function* () {
      const now = yield* status.page
      // The page stands without the database, too.
      const open = yield* Effect.match(status.incidents({ limit: 1_000, cursor: null, status: "open" }), {
        onFailure: () => null,
        onSuccess: ({ data }) => data.length
      })
      return json({
        status: now.status,
        updated_at: now.updated_at,
        open_incidents: open,
        providers: count(now.providers),
        models: count(now.models)
      })
    })

    const withUptime = Effect.fnUntraced(function* <A>(group: UptimeGroup, rows: ReadonlyArray<A>, nameOf: (row: A) => string) {
      const uptimes = yield* Effect.orElseSucceed(status.uptimes(group, 1), () => new Map())
      return rows.map((row) => ({ ...row, uptime_24h: uptimes.get(nameOf(row))?.uptime ?? null }))
    })

    const uptimes = Effect.fnUntraced(function* (query: Query) {
      const group = uptimeGroups.find((known) => known === (query["group_by"] ?? "model"))
      if (group === undefined) return yield* Effect.fail(ApiError.invalid(`\`group_by\` is one of ${uptimeGroups.join(", ")}.`, "group_by"))
      const found = yield* read(status.uptimes(group, yield* days(query, 30)))
      return yield* paged(
        [...found].map(([name, uptime]) => ({ [group]: name, ...uptime })),
        query
      )
    })

    const history = Effect.fnUntraced(function* (slug: string, model: string, query: Query) {
      const interval = query["interval"] ?? "day"
      if (interval !== "hour" && interval !== "day") {
        return yield* Effect.fail(ApiError.invalid("`interval` is `hour` or `day`.", "interval"))
      }
      const provider = registry.get(slug)?.definition.slug ?? null
      if (provider === null && slug !== "all") return yield* Effect.fail(ApiError.notFound(`There is no provider \`${slug}\`.`))
      if (model === "") return yield* Effect.fail(ApiError.notFound("Name a model: /v1/status/uptime/{provider}/{model}, or `all`."))
      const wanted = {
        provider,
        model: model === "all" ? null : model,
        interval,
        days: yield* days(query, interval === "day" ? 30 : 2)
      } as const
      const buckets = yield* read(status.history(wanted))
      const calls = buckets.reduce((sum, bucket) => sum + bucket.calls, 0)
      const failures = buckets.reduce((sum, bucket) => sum + bucket.failures, 0)
      const uptime = calls === 0 ? null : Math.round(((calls - failures) / calls) * 1_000_000) / 1_000_000
      return json({
        provider: slug === "all" ? "all" : provider,
        model,
        interval,
        days: wanted.days,
        uptime,
        calls,
        failures,
        data: buckets
      })
    })

    const all = Effect.fnUntraced(function* (
      query: Query & { readonly status?: Incident["status"] | undefined },
      request: HttpServerRequest.HttpServerRequest
    ) {
      yield* operator(identity, request, "monitoring:read")
      const found = yield* read(book.incidents(yield* incidentQuery(query)))
      return list(found.data, found.next)
    })

    const forOperator = Effect.map(breakers.states, (states) => {
      const left = balances.all()
      return registry.all.map(({ active, definition: { balance, name, slug } }) => ({
        slug,
        name,
        active,
        breaker: states.find((state) => state.provider === slug)?.state ?? "closed",
        health: seen().ofProvider(slug),
        tells_balance: balance !== undefined,
        balance: left.find((row) => row.provider === slug) ?? null,
        recent: recentOf(passive.provider(slug))
      }))
    })

    const readProbe = decodeBody(ProbeRequest)
    const probeNow = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      yield* operator(identity, request, "providers:manage")
      const { model, provider } = yield* readProbe(request)
      const slug = provider === undefined || provider === null ? null : (registry.get(provider)?.definition.slug ?? provider)
      const made = yield* read(probes.now(model, slug))
      if (made.length === 0)
        return yield* Effect.fail(ApiError.notFound(`\`${model}\` could not be probed: no active provider of it, or no budget left.`))
      return list(made.map(({ latencyMs, ...probed }) => ({ ...probed, latency_ms: latencyMs })))
    })

    return handlers
      .handleRaw("status", () => overall)
      .handleRaw("statusProviders", ({ query }) =>
        handled(
          Effect.flatMap(status.page, (now) =>
            Effect.flatMap(
              withUptime("provider", now.providers, ({ slug }) => slug),
              (rows) => paged(rows, query)
            )
          )
        )
      )
      .handleRaw("statusModels", ({ query }) =>
        handled(
          Effect.flatMap(status.page, (now) =>
            Effect.flatMap(
              withUptime("model", now.models, ({ id }) => id),
              (rows) => paged(rows, query)
            )
          )
        )
      )
      .handleRaw("statusIncidents", ({ query }) =>
        handled(
          Effect.flatMap(incidentQuery(query), (wanted) =>
            Effect.map(read(status.incidents(wanted)), ({ data, next }) => list(data.map(shown), next))
          )
        )
      )
      .handleRaw("statusUptimes", ({ query }) => handled(uptimes(query)))
      .handleRaw("statusUptime", ({ params, query }) => handled(history(params.provider, params["*"] ?? "", query)))
      .handleRaw("providersForOperator", ({ request }) =>
        handled(
          Effect.andThen(
            operator(identity, request, "monitoring:read"),
            Effect.map(forOperator, (rows) => list(rows))
          )
        )
      )
      .handleRaw("probe", ({ request }) => handled(probeNow(request)))
      .handleRaw("incidents", ({ query, request }) => handled(all(query, request)))
  })
)
