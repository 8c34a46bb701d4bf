/**
 * How well providers and models do, learned from the requests that pass anyway.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { Attempt } from "../providers/AttemptLog.ts"
import { type Outcome, Outcomes } from "../usage/Outcomes.ts"
import { type Health, type HealthOutcome, HealthRecord } from "./HealthRecord.ts"
import { RecentModels } from "./RecentModels.ts"

/** @category models @since 0.1.0 */
export interface PassiveHealthOptions {
  /** How far back requests count, in milliseconds. */
  readonly windowMs?: number
}

/** What is known of a model at a provider. @category models @since 0.1.0 */
export interface ModelHealth {
  readonly provider: string
  readonly model: string
  readonly health: Health
}

/** @category services @since 0.1.0 */
export class PassiveHealth extends Context.Service<
  PassiveHealth,
  {
    /** What is known of a provider just now, of its counts only those after `since`; null when it was never asked. */
    readonly provider: (slug: string, since?: number) => Health | null
    /** The same of one model at it. */
    readonly model: (slug: string, model: string, since?: number) => Health | null
    readonly providers: () => ReadonlyArray<{ readonly provider: string; readonly health: Health }>
    readonly models: () => ReadonlyArray<ModelHealth>
  }
>()("sluice/health/PassiveHealth") {
  static readonly layer = (options: PassiveHealthOptions = {}): Layer.Layer<PassiveHealth, never, Outcomes> =>
    Layer.effect(this, make(options.windowMs ?? WINDOW))
}

const WINDOW = 600_000

/** Models at providers that are kept, the longest unasked forgotten first. */
const KEPT = 4_096

/** A shorter answer says nothing of how fast tokens come. */
const LEAST_TOKENS = 16

const providersFault = /^status_(5\d\d|401|402|403|408)$/

/** What an attempt says of its provider. @category conversions @since 0.1.0 */
export const outcomeOf = ({ error }: Attempt): HealthOutcome => {
  if (error === null) return "success"
  if (error === "status_429") return "limited"
  if (error === "answer_not_continued") return "refused"
  return error.startsWith("status_") && !providersFault.test(error) ? "refused" : "failure"
}

/** Tokens a second of whoever finished an answer; null where too few were made. */
const speedOf = (outcome: Outcome): number | null => {
  const made = outcome.usage.output + outcome.usage.reasoning
  const seconds = (outcome.endedAt - outcome.startedAt) / 1_000
  return outcome.outcome === "ok" && made >= LEAST_TOKENS && seconds > 0 ? made / seconds : null
}

const note = (record: HealthRecord, outcome: Outcome, attempt: Attempt, went: HealthOutcome, speed: number | null): void => {
  const at = outcome.endedAt
  record.add(at, went)
  if (went === "success") record.took(at, attempt.latencyMs, outcome.request.stream)
  if (speed !== null) record.made(at, speed)
}

const make = Effect.fnUntraced(function* (windowMs: number) {
  const clock = yield* Clock.Clock
  const outcomes = yield* Outcomes
  const providers = new Map<string, HealthRecord>()
  const models = new RecentModels(KEPT, () => new HealthRecord(windowMs))

  const providerOf = (slug: string): HealthRecord => {
    const known = providers.get(slug)
    if (known !== undefined) return known
    const fresh = new HealthRecord(windowMs)
    providers.set(slug, fresh)
    return fresh
  }

  const record = (outcome: Outcome): void => {
    const { attempts } = outcome
    const last = attempts.at(-1)
    for (const attempt of attempts) {
      const went = outcomeOf(attempt)
      const speed = attempt === last ? speedOf(outcome) : null
      note(providerOf(attempt.provider), outcome, attempt, went, speed)
      note(models.use(attempt.provider, attempt.model), outcome, attempt, went, speed)
    }
  }

  yield* outcomes.subscribe(record)
  const now = () => clock.currentTimeMillisUnsafe()
  return PassiveHealth.of({
    provider: (slug, since) => providers.get(slug)?.read(now(), since) ?? null,
    model: (slug, model, since) => models.get(slug, model)?.read(now(), since) ?? null,
    providers: () => [...providers].map(([provider, known]) => ({ provider, health: known.read(now()) })),
    models: () => models.all().map(({ model, provider, value }) => ({ provider, model, health: value.read(now()) }))
  })
})
