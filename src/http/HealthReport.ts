/**
 * How the gateway is, in a bounded time whatever has become of what it stands on.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Fiber, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Ledger } from "../ledger/Ledger.ts"
import { CounterStore } from "../limits/CounterStore.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { PublishedHealth } from "../routing/PublishedHealth.ts"

/** @category services @since 0.1.0 */
export class HealthReport extends Context.Service<
  HealthReport,
  {
    /** Operational only while every component is. */
    readonly report: Effect.Effect<{ readonly status: "operational" | "degraded"; readonly components: Readonly<Record<string, unknown>> }>
  }
>()("sluice/http/HealthReport") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** Milliseconds that the database and the counters are waited for. */
const PATIENCE = 1_000
/** How long a question that nobody answers is left before another is asked. */
const GIVEN_UP = 10_000
/** How long what was found is told to whoever else asks. */
const KEPT = 1_000

const Schemas = Schema.Tuple([Schema.Struct({ latest: Schema.String })])

/**
 * Asks one question at a time, and waits for its answer only so long: whoever is told that there is none leaves the question
 * behind, so that the next need not ask anew.
 */
const patient = Effect.fnUntraced(function* <A>(question: Effect.Effect<A, unknown>) {
  const scope = yield* Effect.scope
  let asked: { readonly fiber: Fiber.Fiber<A | null>; readonly at: number } | null = null
  let known: { readonly answer: A | null; readonly at: number } | null = null
  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (known !== null && now - known.at < KEPT) return known.answer
    if (asked !== null && now - asked.at >= GIVEN_UP) {
      yield* Effect.forkIn(Fiber.interrupt(asked.fiber), scope)
      asked = null
    }
    if (asked === null) {
      const safe = Effect.catchCause(question, () => Effect.succeed(null))
      asked = { fiber: yield* Effect.forkIn(safe, scope), at: now }
    }
    const { fiber } = asked
    const answer = yield* Effect.timeoutOrElse(Effect.asSome(Fiber.join(fiber)), {
      duration: PATIENCE,
      orElse: () => Effect.succeedNone
    })
    if (answer._tag === "None") return null
    asked = null
    known = { answer: answer.value, at: now }
    return answer.value
  })
})

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const counters = yield* CounterStore
  const ledger = yield* Ledger
  const breakers = yield* Breakers
  const registry = yield* ProviderRegistry
  const health = yield* PublishedHealth

  const database = yield* patient(
    Effect.flatMap(
      sql`SELECT migration_id || '_' || name AS latest FROM migrations ORDER BY migration_id DESC LIMIT 1`,
      Schema.decodeUnknownEffect(Schemas)
    )
  )
  // A call of nothing turns away from a store that does not answer, as any request would.
  const shared = yield* patient(Effect.as(counters.raise([]), true))

  const look = Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const [found, counted] = yield* Effect.all([database, shared], { concurrency: 2 })
    const open = (yield* breakers.states).filter((breaker) => breaker.state !== "closed").map((breaker) => breaker.provider)
    const seen = health()
    const ill = registry.all.flatMap(({ active, definition: { slug } }) => {
      const state = active ? seen.ofProvider(slug) : null
      return state === "degraded" || state === "down" ? [slug] : []
    })
    const standing = yield* ledger.standing
    const isSafe = standing.inTime && standing.journaled + standing.unsecured === 0
    return {
      database: found === null ? "down" : "operational",
      // Away: limits hold for each process alone.
      counters: counted === null || counters.isAway() ? "down" : "operational",
      ledger: !standing.inTime ? "down" : isSafe ? "operational" : "degraded",
      migrations: found === null ? "unknown" : "operational",
      providers: open.length + ill.length === 0 ? "operational" : "degraded",
      open_circuits: open,
      ill_providers: ill,
      details: {
        schema: found?.[0].latest ?? null,
        database_ms: found === null ? null : (yield* Clock.currentTimeMillis) - startedAt,
        ledger: { pending: standing.pending, journaled: standing.journaled, unsecured: standing.unsecured, lease_in_time: standing.inTime }
      }
    }
  })
  return HealthReport.of({
    report: Effect.map(look, (components) => {
      const { counters: limits, database: base, ledger: money, providers } = components
      const isWell = [base, limits, money, providers].every((state) => state === "operational")
      return { status: isWell ? "operational" : "degraded", components }
    })
  })
})
