/**
 * How every model is at its providers just now, out of real requests, of probes, and of what other replicas found.
 *
 * What is published is a snapshot: taken anew at once when something falls ill or recovers, else at most every few seconds.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { HealthState } from "../../schemas/Health.ts"
import { type HealthSnapshot, nothing, PublishedHealth } from "../routing/PublishedHealth.ts"
import { type Outcome, Outcomes } from "../usage/Outcomes.ts"
import { HealthTrack } from "./HealthTrack.ts"
import { outcomeOf } from "./PassiveHealth.ts"

/** A call of a model at a provider that ended. @category models @since 0.1.0 */
export interface Observation {
  readonly provider: string
  readonly model: string
  /** Epoch milliseconds. */
  readonly at: number
  /** Null: it went well. */
  readonly error: string | null
  readonly latencyMs: number
  readonly isProbe: boolean
}

/** A state that somebody else found out. @category models @since 0.1.0 */
export interface HeardState {
  readonly provider: string
  readonly model: string
  readonly at: number
  readonly state: HealthState
}

/** @category services @since 0.1.0 */
export class HealthBoard extends Context.Service<
  HealthBoard,
  {
    /** Counts a call. Never waits. */
    readonly observe: (observation: Observation) => void
    readonly hear: (states: ReadonlyArray<HeardState>) => void
    readonly snapshot: () => HealthSnapshot
    /** When a model was last called at a provider, by a request or a probe of this process; null when never. */
    readonly calledAt: (provider: string, model: string) => number | null
    /** Tells `listener` of every observation, and what it made of the model. It must not wait. */
    readonly subscribe: (listener: (observation: Observation, state: HealthState) => void) => void
  }
>()("sluice/health/HealthBoard") {
  /** The board, and `PublishedHealth` for those who only read. */
  static readonly layer: Layer.Layer<HealthBoard, never, Outcomes> = Layer.effect(
    PublishedHealth,
    Effect.map(HealthBoard, (board) => board.snapshot)
  ).pipe(
    Layer.provideMerge(
      Layer.effect(
        this,
        Effect.suspend(() => make)
      )
    )
  )
}

/** Models at providers that are kept, the longest uncalled forgotten first. */
const KEPT = 4_096
const PUBLISH_EVERY = 5_000

interface Entry {
  readonly provider: string
  readonly model: string
  readonly track: HealthTrack
  calledAt: number | null
}

/** Tracks of models and of providers, as far as they fit. */
class Tracks {
  readonly models = new Map<string, Entry>()
  readonly providers = new Map<string, HealthTrack>()

  model(provider: string, model: string): Entry {
    const key = `${provider} ${model}`
    const entry = this.models.get(key) ?? { provider, model, track: new HealthTrack(), calledAt: null }
    // Taken out and put back: the map's order is the order of use.
    this.models.delete(key)
    this.models.set(key, entry)
    const oldest = this.models.size > KEPT ? this.models.keys().next() : undefined
    if (oldest?.done === false) this.models.delete(oldest.value)
    return entry
  }

  provider(slug: string): HealthTrack {
    const known = this.providers.get(slug)
    if (known !== undefined) return known
    const fresh = new HealthTrack()
    this.providers.set(slug, fresh)
    return fresh
  }
}

/** What a provider's models say of it, where it was not called itself. */
const ofModels = (states: ReadonlyArray<HealthState>): HealthState | null => {
  if (states.length === 0) return null
  if (states.every((state) => state === "down")) return "down"
  return states.every((state) => state === "healthy") ? "healthy" : "degraded"
}

const take = (tracks: Tracks, now: number): { readonly states: Map<string, HealthState>; readonly providers: Map<string, HealthState> } => {
  const states = new Map<string, HealthState>()
  const byProvider = new Map<string, Array<HealthState>>()
  for (const [key, { provider, track }] of tracks.models) {
    const state = track.read(now)
    if (state === null) continue
    states.set(key, state)
    byProvider.set(provider, [...(byProvider.get(provider) ?? []), state])
  }
  const providers = new Map<string, HealthState>()
  for (const slug of new Set([...tracks.providers.keys(), ...byProvider.keys()])) {
    const state = tracks.providers.get(slug)?.read(now) ?? ofModels(byProvider.get(slug) ?? [])
    if (state !== null) providers.set(slug, state)
  }
  return { states, providers }
}

const isSame = (a: ReadonlyMap<string, HealthState>, b: ReadonlyMap<string, HealthState>): boolean =>
  a.size === b.size && [...a].every(([key, state]) => b.get(key) === state)

const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const outcomes = yield* Outcomes
  const tracks = new Tracks()
  const listeners: Array<(observation: Observation, state: HealthState) => void> = []
  let published = { states: new Map<string, HealthState>(), providers: new Map<string, HealthState>() }
  let snapshot = nothing
  let publishedAt = Number.NEGATIVE_INFINITY

  const publish = (now: number): void => {
    publishedAt = now
    const next = take(tracks, now)
    if (isSame(next.states, published.states) && isSame(next.providers, published.providers)) return
    published = next
    snapshot = {
      version: snapshot.version + 1,
      of: (model, provider) => next.states.get(`${provider} ${model}`) ?? null,
      ofProvider: (provider) => next.providers.get(provider) ?? null
    }
  }

  const observe = (observation: Observation): void => {
    const { at, error, model, provider } = observation
    const entry = tracks.model(provider, model)
    entry.calledAt = at
    const whole = tracks.provider(provider)
    whole.observe(at, error === null)
    const state = entry.track.observe(at, error === null)
    const shown = published.states.get(`${provider} ${model}`) ?? "healthy"
    if (shown !== state || (published.providers.get(provider) ?? "healthy") !== (whole.read(at) ?? "healthy")) publish(at)
    for (const listener of listeners) listener(observation, state)
  }

  yield* outcomes.subscribe((outcome: Outcome) => {
    for (const attempt of outcome.attempts) {
      const went = outcomeOf(attempt)
      if (went !== "success" && went !== "failure") continue
      const { latencyMs, model, provider } = attempt
      observe({ provider, model, latencyMs, at: outcome.endedAt, error: went === "success" ? null : attempt.error, isProbe: false })
    }
  })
  return HealthBoard.of({
    observe,
    hear: (states) => {
      for (const { at, model, provider, state } of states) tracks.model(provider, model).track.hear(at, state)
      publish(clock.currentTimeMillisUnsafe())
    },
    snapshot: () => {
      const now = clock.currentTimeMillisUnsafe()
      if (now - publishedAt >= PUBLISH_EVERY) publish(now)
      return snapshot
    },
    calledAt: (provider, model) => tracks.models.get(`${provider} ${model}`)?.calledAt ?? null,
    subscribe: (listener) => {
      listeners.push(listener)
    }
  })
})
