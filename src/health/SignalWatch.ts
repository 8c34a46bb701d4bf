/**
 * Learns from the requests that pass how well models answer: everybody, and each account for itself.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Layer } from "effect"
import type { Attempt } from "../providers/AttemptLog.ts"
import { QualitySignals, type SignalsOf } from "../routing/QualitySignals.ts"
import { type Outcome, Outcomes } from "../usage/Outcomes.ts"
import { outcomeOf } from "./PassiveHealth.ts"
import { RecentModels } from "./RecentModels.ts"
import { type Observation, SignalTally } from "./SignalTally.ts"

/** Half of what was seen this long ago, in milliseconds, counts no more: of everybody, of one account, which asks less. */
const HALF_LIFE = 600_000
const OWN_HALF_LIFE = 3_600_000

/** What is kept, the longest unasked forgotten first. */
const KEPT = 4_096
const ACCOUNTS = 2_000
const MODELS_OF_ACCOUNT = 32

/** A map that is as large as it may be; an account that is busy forgets of its own first. */
class Bounded<A> {
  private readonly map = new Map<string, A>()
  private readonly most: number
  private readonly fresh: () => A
  /** Used last. */
  private newest: { readonly key: string; readonly value: A } | null = null

  constructor(most: number, fresh: () => A) {
    this.most = most
    this.fresh = fresh
  }

  get(key: string): A | undefined {
    return this.map.get(key)
  }

  /** The value of a key, used last now. */
  use(key: string): A {
    if (this.newest?.key === key) return this.newest.value
    const value = this.map.get(key) ?? this.fresh()
    this.newest = { key, value }
    this.map.delete(key)
    this.map.set(key, value)
    if (this.map.size > this.most) {
      const oldest = this.map.keys().next()
      if (oldest.done !== true) this.map.delete(oldest.value)
    }
    return value
  }
}

/** What a request's attempts with one model say, at one provider or at all of them; null where they say nothing. */
const observe = (attempts: ReadonlyArray<Attempt>, model: string, provider: string | null): Observation | null => {
  let calls = 0
  let failures = 0
  let checked = 0
  let broken = 0
  let tries = 0
  for (const attempt of attempts) {
    if (attempt.model !== model || (provider !== null && attempt.provider !== provider)) continue
    tries++
    const went = outcomeOf(attempt)
    if (went === "success" || went === "failure") calls++
    if (went === "failure") failures++
    if (attempt.inForm === undefined) continue
    checked++
    if (!attempt.inForm) broken++
  }
  return calls === 0 ? null : { calls, failures, retried: tries > 1, checked, broken }
}

/** Whether an attempt is the first of its model, and of its model at its provider: there are few, so they are looked through. */
const isFirst = (attempts: ReadonlyArray<Attempt>, { model }: Attempt, at: number, provider: string | null): boolean => {
  for (let before = 0; before < at; before++) {
    const other = attempts[before]
    if (other?.model === model && (provider === null || other.provider === provider)) return false
  }
  return true
}

const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const outcomes = yield* Outcomes
  const everybody = new RecentModels(KEPT, () => new SignalTally(HALF_LIFE))
  const accounts = new Bounded(ACCOUNTS, () => new Bounded(MODELS_OF_ACCOUNT, () => new SignalTally(OWN_HALF_LIFE)))

  const record = ({ attempts, caller, endedAt }: Outcome): void => {
    for (const [at, attempt] of attempts.entries()) {
      const { model, provider } = attempt
      if (isFirst(attempts, attempt, at, provider)) {
        const seen = observe(attempts, model, provider)
        if (seen !== null) everybody.use(provider, model).add(endedAt, seen)
      }
      // Nobody known is not one account.
      if (caller.isAnonymous || !isFirst(attempts, attempt, at, null)) continue
      const seen = observe(attempts, model, null)
      if (seen !== null) accounts.use(caller.accountId).use(model).add(endedAt, seen)
    }
  }
  yield* outcomes.subscribe(record)

  const signalsOf: SignalsOf = (model, provider, accountId) => {
    const now = clock.currentTimeMillisUnsafe()
    const own = accountId === null ? undefined : accounts.get(accountId)?.get(model)
    return { everybody: everybody.get(provider, model)?.read(now) ?? null, own: own?.read(now) ?? null }
  }
  return signalsOf
})

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<never, never, Outcomes> = Layer.effect(QualitySignals, make)
