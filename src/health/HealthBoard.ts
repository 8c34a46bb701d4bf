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
import { RecentModels } from "./RecentModels.ts"

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

/** A model at its provider. */
class Entry {
  readonly track = new HealthTrack()
  calledAt: number | null = null
}

/** Tracks of models and of providers, as far as they fit. */
class Tracks {
  readonly models = new RecentModels(KEPT, () => new Entry())
  readonly providers = new Map<string, HealthTrack>()

  provider(slug: string): HealthTrack {
    const known = this.providers.get(slug)
    if (known !== undefined) return known
    const fresh = new HealthTrack()
    this.providers.set(slug, fresh)
    return fresh
  }
}

/** What is published: of models by provider, and of providers. */
interface Published {
  readonly models: ReadonlyMap<string, ReadonlyMap<string, HealthState>>
  readonly providers: ReadonlyMap<string, HealthState>
}

/** What a provider's models say of it, where it was not called itself. */
const ofModels = (states: ReadonlyArray<HealthState>): HealthState | null => {
  if (states.length === 0) return null
  if (states.every((state) => state === "down")) return "down"
  return states.every((state) => state === "healthy") ? "healthy" : "degraded"
}

const take = (tracks: Tracks, now: number): Published => {
  const models = new Map<string, Map<string, HealthState>>()
  for (const { model, provider, value } of tracks.models.all()) {
    const state = value.track.read(now)
    if (state === null) continue
    const known = models.get(provider)
    if (known === undefined) models.set(provider, new Map([[model, state]]))
    else known.set(model, state)
  }
  const providers = new Map<string, HealthState>()
  for (const slug of new Set([...tracks.providers.keys(), ...models.keys()])) {
    const state = tracks.providers.get(slug)?.read(now) ?? ofModels([...(models.get(slug)?.values() ?? [])])
    if (state !== null) providers.set(slug, state)
  }
  return { models, providers }
}

const none: ReadonlyMap<string, HealthState> = new Map()

const isSame = (a: ReadonlyMap<string, HealthState>, b: ReadonlyMap<string, HealthState>): boolean =>
  a.size === b.size && [...a].every(([key, state]) => b.get(key) === state)

const isUnchanged = (a: Published, b: Published): boolean =>
  isSame(a.providers, b.providers) &&
  a.models.size === b.models.size &&
  [...a.models].every(([provider, states]) => isSame(states, b.models.get(provider) ?? none))

const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const outcomes = yield* Outcomes
  const tracks = new Tracks()
  const listeners: Array<(observation: Observation, state: HealthState) => void> = []
  let published: Published = { models: new Map(), providers: new Map() }
  let snapshot = nothing
  let publishedAt = Number.NEGATIVE_INFINITY

  const publish = (now: number): void => {
    publishedAt = now
    const next = take(tracks, now)
    if (isUnchanged(next, published)) return
    published = next
    snapshot = {
      version: snapshot.version + 1,
      of: (model, provider) => next.models.get(provider)?.get(model) ?? null,
      ofProvider: (provider) => next.providers.get(provider) ?? null
    }
  }

  const observe = (observation: Observation): void => {
    const { at, error, model, provider } = observation
    const entry = tracks.models.use(provider, model)
    entry.calledAt = at
    const whole = tracks.provider(provider)
    whole.observe(at, error === null)
    const state = entry.track.observe(at, error === null)
    const shown = published.models.get(provider)?.get(model) ?? "healthy"
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
      for (const { at, model, provider, state } of states) tracks.models.use(provider, model).track.hear(at, state)
      publish(clock.currentTimeMillisUnsafe())
    },
    snapshot: () => {
      const now = clock.currentTimeMillisUnsafe()
      if (now - publishedAt >= PUBLISH_EVERY) publish(now)
      return snapshot
    },
    calledAt: (provider, model) => tracks.models.get(provider, model)?.calledAt ?? null,
    subscribe: (listener) => {
      listeners.push(listener)
    }
  })
})
