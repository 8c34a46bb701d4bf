/**
 * Asks models whether they answer: the ones most used often, the others now and then, rare ones when somebody wants to know.
 *
 * **Gotchas**: what real requests tell is not asked again; nothing is charged to anybody but the operator's own account at
 * the provider, and no more than the day's budget.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric } from "effect"
import type { Candidate } from "../../schemas/Model.ts"
import { Catalog } from "../catalog/Catalog.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderAdapters } from "../providers/ProviderAdapters.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { Transport } from "../providers/Transport.ts"
import * as Singletons from "../replicas/Singletons.ts"
import { HealthBoard } from "./HealthBoard.ts"
import type { HealthBookError } from "./HealthBook.ts"
import { type Place, ProbeBook, type Watched } from "./ProbeBook.ts"
import { costOf, type ProbeParts, type ProbeResult, probe } from "./ProbeCall.ts"
import { intervalOf, type Tier, tiers, tiersOf } from "./ProbeTiers.ts"

/** @category models @since 0.1.0 */
export interface ProbesOptions {
  /** Between two looks for what is due, in milliseconds; null: nothing is probed unless somebody asks. */
  readonly everyMs: number | null
  /** The most that probes of one UTC day may cost, in picodollars. */
  readonly dailyBudget: bigint
}

/** What a probe found. @category models @since 0.1.0 */
export interface Probed extends Place, ProbeResult {
  readonly tier: Tier
}

/** @category services @since 0.1.0 */
export class Probes extends Context.Service<
  Probes,
  {
    /** Probes what is due now and nobody else probes. */
    readonly round: Effect.Effect<ReadonlyArray<Probed>, HealthBookError>
    /** Probes a model now, at its providers or at one of them, whatever its tier. */
    readonly now: (model: string, provider: string | null) => Effect.Effect<ReadonlyArray<Probed>, HealthBookError>
  }
>()("sluice/health/Probes") {
  static readonly layer = (options: ProbesOptions) => Layer.effect(this, make(options))
}

/** Milliseconds that a probe may be early, so that the time it takes itself does not make the next one late. */
const EARLY = 15_000
/** Probes of one round, and at once. */
const BATCH = 50
const AT_ONCE = 20
/** Providers of a model that are probed, in the order they are tried. */
const PROVIDERS = 4

const probes = Metric.counter("sluice_health_probes_total", { description: "Probes by tier and outcome", incremental: true })
const unpaid = Metric.counter("sluice_health_probes_unpaid_total", {
  description: "Probes that were not made because the day's budget was spent",
  incremental: true
})

interface Due extends Place {
  readonly candidate: Candidate
  readonly tier: Tier
  readonly notSince: number
}

const keyOf = ({ model, provider }: Place): string => `${provider} ${model}`

const make = Effect.fnUntraced(function* (options: ProbesOptions) {
  const catalog = yield* Catalog
  const registry = yield* ProviderRegistry
  const board = yield* HealthBoard
  const book = yield* ProbeBook
  const parts: ProbeParts = { adapters: yield* ProviderAdapters, breakers: yield* Breakers, transport: yield* Transport }

  const candidatesOf = (model: string) => Effect.orElseSucceed(catalog.candidates(model, null), (): ReadonlyArray<Candidate> => [])

  /** Whether a place has been quiet for its interval: neither probed nor, by anybody's request, heard of. */
  const dueOf = (candidate: Candidate, tier: Tier, seen: Watched | undefined, now: number): Due | null => {
    const { provider } = candidate
    const model = candidate.model.id
    const every = intervalOf(tier, provider, model, seen?.isInTrouble === true)
    if (every === null) return null
    const last = Math.max(seen?.seenAt ?? 0, seen?.probedAt ?? 0, board.calledAt(provider, model) ?? 0)
    return last > 0 && now - last < every - EARLY ? null : { provider, model, candidate, tier, notSince: now - every + EARLY }
  }

  const due = Effect.fnUntraced(function* (now: number) {
    const tiersNow = tiersOf(yield* book.usage(now))
    const watched = new Map((yield* book.watched).map((row) => [keyOf(row), row]))
    const found: Array<Due> = []
    for (const [model, tier] of tiersNow) {
      for (const candidate of (yield* candidatesOf(model)).slice(0, PROVIDERS)) {
        const wanted = dueOf(candidate, tier, watched.get(keyOf({ provider: candidate.provider, model: candidate.model.id })), now)
        if (wanted !== null) found.push(wanted)
      }
      if (found.length >= BATCH) break
    }
    return found.slice(0, BATCH)
  })

  const runOne = Effect.fnUntraced(function* (wanted: Due) {
    const { candidate, model, provider, tier } = wanted
    const rule = tiers[tier]
    const registered = registry.get(provider)
    if (registered === undefined) return null
    const startedAt = yield* Clock.currentTimeMillis
    const cost = costOf(candidate, rule)
    if (cost > 0n && !(yield* book.spend(startedAt, cost, options.dailyBudget))) {
      yield* Metric.update(unpaid, 1)
      return null
    }
    const result = yield* probe(parts, registered, candidate, rule)
    yield* Metric.update(Metric.withAttributes(probes, { tier, outcome: result.outcome }), 1)
    if (result.outcome !== "unclear") {
      const error = result.outcome === "success" ? null : result.error
      board.observe({ provider, model, at: yield* Clock.currentTimeMillis, error, latencyMs: result.latencyMs, isProbe: true })
    }
    return { provider, model, tier, ...result }
  })

  const run = (wanted: ReadonlyArray<Due>) =>
    Effect.gen(function* () {
      const made = yield* Effect.forEach(wanted, runOne, { concurrency: AT_ONCE })
      return made.flatMap((probed): ReadonlyArray<Probed> => (probed === null ? [] : [probed]))
    }).pipe(
      Effect.ensuring(
        Effect.ignore(
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            book.done(
              now,
              wanted.map(({ model, provider }) => ({ provider, model }))
            )
          )
        )
      )
    )

  const round = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const wanted = yield* due(now)
    if (wanted.length === 0) return []
    const places = wanted.map(({ model, notSince, provider }) => ({ provider, model, notSince }))
    const claimed = new Set((yield* book.claim(now, places)).map(keyOf))
    const mine = wanted.filter((place) => claimed.has(keyOf(place)))
    return mine.length === 0 ? [] : yield* run(mine)
  })

  const onDemand = Effect.fnUntraced(function* (model: string, provider: string | null) {
    const now = yield* Clock.currentTimeMillis
    const candidates = (yield* candidatesOf(model)).filter((candidate) => provider === null || candidate.provider === provider)
    return yield* run(
      candidates.slice(0, BATCH).map((candidate) => ({
        provider: candidate.provider,
        model: candidate.model.id,
        candidate,
        tier: "on_demand" as const,
        notSince: now
      }))
    )
  })

  if (options.everyMs !== null) {
    const quiet = Effect.catchCause(round, (cause) => Effect.logWarning("Models could not be probed", cause))
    yield* Singletons.every("probes", options.everyMs, quiet)
  }
  return Probes.of({ round, now: onDemand })
})
