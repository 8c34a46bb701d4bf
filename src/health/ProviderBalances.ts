/**
 * What is left of the credit at providers that tell, looked at now and then by one replica for all of them.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { ProviderRegistry, type RegisteredProvider } from "../providers/ProviderRegistry.ts"
import { headersFor } from "../providers/protocols/HttpProtocol.ts"
import { Transport } from "../providers/Transport.ts"
import { Singletons } from "../replicas/Singletons.ts"
import { LowCredit } from "../routing/LowCredit.ts"
import { readBalance } from "./BalanceForms.ts"
import { HealthBookError, iso } from "./HealthBook.ts"

/** At most 5, 20 and 50 USD, and more. @category models @since 0.1.0 */
export type BalanceLevel = "critical" | "warning" | "info" | "ok"

/** @category models @since 0.1.0 */
export interface ProviderBalance {
  readonly provider: string
  /** As it was last told; null when it never was. */
  readonly usd: number | null
  readonly level: BalanceLevel | null
  readonly checked_at: string
  /** Why it could not be read the last time. */
  readonly error: string | null
}

/** Times are milliseconds. @category models @since 0.1.0 */
export interface ProviderBalancesOptions {
  /** Between two looks; 0: none. */
  readonly everyMs: number
  /** From the start until the first. */
  readonly firstAfterMs: number
}

/** @category services @since 0.1.0 */
export class ProviderBalances extends Context.Service<
  ProviderBalances,
  {
    /** As they were last read by anybody. */
    readonly all: () => ReadonlyArray<ProviderBalance>
    /** Whether a provider is so short of credit that others are asked first: before it refuses for want of it. */
    readonly isLow: (provider: string) => boolean
    /** Asks the providers, unless somebody did not long ago, and learns what anybody found. */
    readonly poll: Effect.Effect<void, HealthBookError>
  }
>()("sluice/health/ProviderBalances") {
  /** The balances, and `LowCredit` for those who order candidates. */
  static readonly layer = (options: ProviderBalancesOptions) =>
    Layer.effect(
      LowCredit,
      Effect.map(ProviderBalances, ({ isLow }) => isLow)
    ).pipe(Layer.provideMerge(Layer.effect(this, make(options))))
}

const CRITICAL = 5
const WARNING = 20
const INFO = 50
/** How long a balance that cannot be read again is believed. */
const BELIEVED = 3_600_000
const PATIENCE = 30_000
const LEASE = 60_000
const REFRESH_EVERY = 60_000
const MAX_BYTES = 65_536

/** @category policies @since 0.1.0 */
export const levelOf = (usd: number): BalanceLevel =>
  usd <= CRITICAL ? "critical" : usd <= WARNING ? "warning" : usd <= INFO ? "info" : "ok"

const gauge = Metric.gauge("sluice_provider_balance_usd", { description: "Credit left at a provider, in USD" })

const Rows = Schema.Array(
  Schema.Struct({
    provider: Schema.String,
    usd: Schema.NullOr(Schema.NumberFromString),
    checkedAt: Schema.NumberFromString,
    error: Schema.NullOr(Schema.String)
  })
)

/** Where a provider tells: beside its other paths, also where a deployment has it elsewhere. */
const addressOf = ({ baseUrl }: RegisteredProvider, path: string): string => new URL(path, `${baseUrl}/`).toString()

const ask = (transport: Transport["Service"], provider: RegisteredProvider): Effect.Effect<number, string> => {
  const { balance } = provider.definition
  if (balance === undefined) return Effect.fail("not told")
  const { "content-type": _, ...headers } = headersFor(provider)
  const read = Effect.gen(function* () {
    const request = { method: "GET" as const, url: addressOf(provider, balance.path), headers, body: null }
    const { isWhole, status, text } = yield* transport.ask(request, MAX_BYTES)
    if (status !== 200) return yield* Effect.fail(`status ${status}`)
    if (!isWhole) return yield* Effect.fail("too long an answer")
    const usd = readBalance(balance.form, text)
    return usd ?? (yield* Effect.fail("no balance in USD in the answer"))
  })
  return read.pipe(
    Effect.mapError((error) => (typeof error === "string" ? error : error.reason._tag)),
    Effect.timeoutOrElse({ duration: PATIENCE, orElse: () => Effect.fail("no answer in time") })
  )
}

/** The statements. */
const makeTable = Effect.map(SqlClient.SqlClient, (sql) => ({
  /** Leave to look: one process at a time, and not sooner than `everyMs` after the last one did. */
  claim: (now: number, everyMs: number) =>
    Effect.map(
      sql`INSERT INTO health_tasks AS t (name, done_at, leased_until)
        VALUES ('balances', NULL, ${iso(now + LEASE)}::text::timestamptz)
        ON CONFLICT (name) DO UPDATE SET leased_until = excluded.leased_until
        WHERE (t.leased_until IS NULL OR t.leased_until <= ${iso(now)}::text::timestamptz)
          AND (t.done_at IS NULL OR t.done_at <= ${iso(now - everyMs)}::text::timestamptz)
        RETURNING name`,
      (rows) => rows.length > 0
    ),
  done: (now: number) => sql`UPDATE health_tasks SET done_at = ${iso(now)}::text::timestamptz, leased_until = NULL WHERE name = 'balances'`,
  write: (provider: string, now: number, usd: number) =>
    sql`INSERT INTO provider_balances (provider, usd, checked_at)
      VALUES (${provider}, ${usd.toFixed(6)}::text::numeric, ${iso(now)}::text::timestamptz)
      ON CONFLICT (provider) DO UPDATE SET usd = excluded.usd, checked_at = excluded.checked_at, error = NULL`,
  fail: (provider: string, now: number, error: string) =>
    sql`INSERT INTO provider_balances (provider, usd, checked_at, error) VALUES (${provider}, NULL, ${iso(now)}::text::timestamptz, ${error})
      ON CONFLICT (provider) DO UPDATE SET error = excluded.error`,
  read: Effect.flatMap(
    sql`SELECT provider, usd::text AS usd, floor(extract(epoch FROM checked_at) * 1000)::text AS "checkedAt", error
      FROM provider_balances ORDER BY provider`,
    Schema.decodeUnknownEffect(Rows)
  )
}))

const make = Effect.fnUntraced(function* (options: ProviderBalancesOptions) {
  const clock = yield* Clock.Clock
  const registry = yield* ProviderRegistry
  const transport = yield* Transport
  const table = yield* makeTable
  const telling = registry.all.filter((provider) => provider.active && provider.definition.balance !== undefined)
  let known: (typeof Rows)["Type"] = []

  const failure = (error: unknown) => new HealthBookError({ message: messageOf(error).slice(0, 300) })
  const refresh = Effect.map(table.read, (rows) => {
    known = rows.filter((row) => telling.some(({ definition }) => definition.slug === row.provider))
  })

  const lookAt = Effect.fnUntraced(function* (provider: RegisteredProvider) {
    const { slug } = provider.definition
    const found = yield* Effect.result(ask(transport, provider))
    const now = yield* Clock.currentTimeMillis
    if (found._tag === "Failure") {
      yield* table.fail(slug, now, found.failure)
      return yield* Effect.logWarning(`The balance at ${slug} could not be read: ${found.failure}`)
    }
    yield* table.write(slug, now, found.success)
    yield* Metric.update(Metric.withAttributes(gauge, { provider: slug }), found.success)
    const level = levelOf(found.success)
    if (level === "critical" || level === "warning")
      yield* Effect.logWarning(`The balance at ${slug} is low (${level}): ${found.success} USD`)
  })

  const poll = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (telling.length > 0 && (yield* table.claim(now, options.everyMs))) {
      yield* Effect.forEach(telling, lookAt, { concurrency: 4, discard: true })
      yield* table.done(now)
    }
    yield* refresh
  }).pipe(Effect.mapError(failure))

  if (telling.length > 0 && options.everyMs > 0) {
    const quiet = (effect: Effect.Effect<void, HealthBookError>) =>
      Effect.catch(effect, ({ message }) => Effect.logWarning(`Balances at providers could not be looked at: ${message}`))
    const pause = Effect.sleep(Math.min(REFRESH_EVERY, options.everyMs))
    const later = (effect: Effect.Effect<void, HealthBookError>) =>
      Effect.andThen(Effect.sleep(options.firstAfterMs), Effect.forever(Effect.andThen(quiet(effect), pause)))
    const { register } = yield* Singletons
    yield* register("balances", later(poll))
    // What the others find is learned by all.
    yield* Effect.forkScoped(later(Effect.mapError(refresh, failure)))
  }
  const levelNow = ({ checkedAt, usd }: (typeof known)[number]): BalanceLevel | null =>
    usd === null || clock.currentTimeMillisUnsafe() - checkedAt >= BELIEVED ? null : levelOf(usd)

  return ProviderBalances.of({
    all: () =>
      known.map((row) => ({
        provider: row.provider,
        usd: row.usd,
        level: levelNow(row),
        checked_at: iso(row.checkedAt),
        error: row.error
      })),
    isLow: (provider) => known.some((row) => row.provider === provider && levelNow(row) === "critical"),
    poll
  })
})
