/**
 * Circuit breakers: one actor per provider; each replica judges for itself and is told what the others found.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Option, Queue, Random, type Scope } from "effect"
import * as Actor from "../actors/Actor.ts"
import { Broadcast, type Heard } from "../replicas/Broadcast.ts"
import * as Series from "../telemetry/Series.ts"
import { BreakerStore, decodeShared, encodeShared } from "./BreakerStore.ts"
import * as Circuit from "./Circuit.ts"

/** @category models @since 0.1.0 */
export interface BreakerState {
  readonly provider: string
  readonly state: "closed" | "open" | "half_open"
  /** Consecutive. */
  readonly failures: number
  /** ISO-8601; null unless open or half open. */
  readonly opened_at: string | null
  /** ISO-8601; null unless open. */
  readonly retry_at: string | null
}

/** Leave to call a provider. Tell the outcome once; a probe's permit must be told something, also when the caller left. @category models @since 0.1.0 */
export interface Permit {
  readonly provider: string
  readonly probe: boolean
  /**
   * Tells the circuit at once, whoever comes first; what it gives is what is left to be done, `Effect.void` where nothing is.
   * `ignored` says nothing about the provider and frees a probe's place.
   */
  readonly tell: (outcome: Circuit.CallOutcome) => Effect.Effect<void>
}

/** @category services @since 0.1.0 */
export class Breakers extends Context.Service<
  Breakers,
  {
    /** Null when the circuit is open, or half open with its one probe under way. Waits for nobody, unless for the leave to probe. */
    readonly permit: (provider: string) => Effect.Effect<Permit | null>
    readonly states: Effect.Effect<ReadonlyArray<BreakerState>>
    readonly reset: (provider: string) => Effect.Effect<void>
    /** How a circuit is and since when, read at once; null when it never changed. Epoch milliseconds. */
    readonly look: (provider: string) => { readonly state: BreakerState["state"]; readonly changedAt: number } | null
  }
>()("sluice/providers/Breakers") {
  /** Circuits of this process alone. */
  static readonly layer = (options: Circuit.BreakersOptions): Layer.Layer<Breakers> =>
    Layer.effect(
      this,
      Effect.map(makeLocal(options, alone), ({ service }) => service)
    )

  /** Circuits whose transitions replicas tell each other, with one probe among them all. Without the others it judges alone. */
  static readonly layerShared = (options: Circuit.BreakersOptions): Layer.Layer<Breakers, never, BreakerStore | Broadcast> =>
    Layer.effect(this, makeShared(options))
}

/** What a circuit does beyond this process. */
interface Others {
  /** A circuit was opened or closed here. Never waits. */
  readonly tell: (provider: string, circuit: Circuit.SharedCircuit) => void
  /** Whether this replica may probe. Its end is `ignored` when the probe found nothing out. */
  readonly takeProbe: (provider: string, openedAt: number) => Effect.Effect<boolean>
  readonly freeProbe: (provider: string, openedAt: number) => Effect.Effect<void>
}

const alone: Others = { tell: () => {}, takeProbe: () => Effect.succeed(true), freeProbe: () => Effect.void }

/** How long a probe is waited for before another may be made: a replica may die with it. */
const PROBE_MS = 60_000

/** How long another replica's probe is taken for granted before the leave is asked for again. */
const ASK_AGAIN_MS = 1_000

const STATES = ["closed", "open", "half_open"] as const

const makeSeries = () => ({
  transitions: Series.counter("sluice_circuit_breaker_state_transitions_total", "Circuits that changed state", [
    "provider",
    "from_state",
    "to_state"
  ]),
  rejected: Series.counter("sluice_circuit_breaker_rejected_requests_total", "Calls that an open circuit kept away", ["provider"]),
  success: Series.counter("sluice_circuit_breaker_successes_total", "Calls that went well, by the circuit's state", ["provider", "state"]),
  failure: Series.counter("sluice_circuit_breaker_failures_total", "Calls that the provider failed, by the circuit's state", [
    "provider",
    "state"
  ]),
  current: Series.gauge("sluice_circuit_breaker_current_state", "1 for the state that a circuit is in", ["provider", "state"])
})

const make = (options: Circuit.BreakersOptions, others: Others, clock: Clock.Clock, context: Context.Context<never>) => {
  const series = makeSeries()
  const circuits = new Map<string, Actor.Actor<Circuit.Circuit, Circuit.CircuitMessage>>()
  const changes = new Map<string, number>()
  const turn = Circuit.receive(options)

  const circuitOf = (provider: string) => {
    const known = circuits.get(provider)
    if (known !== undefined) return known
    const fresh = Actor.make({ initial: Circuit.initial, receive: turn })
    circuits.set(provider, fresh)
    return fresh
  }

  const showState = (provider: string, now: Circuit.Circuit["state"]): void => {
    for (const state of STATES) series.current(provider, state).updateUnsafe(state === now ? 1 : 0, context)
  }

  /** What follows a turn that changed the circuit: it is counted, shown, and told to the others unless they told it. */
  const changed = (provider: string, before: Circuit.Circuit, isHeard: boolean): Effect.Effect<void> => {
    const after = circuitOf(provider).snapshot()
    const now = clock.currentTimeMillisUnsafe()
    changes.set(provider, now)
    const shared = Circuit.toShared(after, now)
    if (shared !== null && !isHeard) others.tell(provider, shared)
    if (before.state === after.state) return Effect.void
    series.transitions(provider, before.state, after.state).updateUnsafe(1, context)
    showState(provider, after.state)
    const heard = isHeard ? ", as another replica found" : ""
    return Effect.logWarning(`The circuit of ${provider} went from ${before.state} to ${after.state}${heard}`)
  }

  /** Tells a circuit at once; nothing is left to do where that changed nothing, as nearly always. */
  const tellNow = (provider: string, message: Circuit.CircuitMessage): Effect.Effect<void> => {
    const circuit = circuitOf(provider)
    const before = circuit.snapshot()
    if (message._tag === "Outcome" && message.outcome !== "ignored")
      series[message.outcome](provider, before.state).updateUnsafe(1, context)
    circuit.tell(message)
    return before.epoch === circuit.snapshot().epoch ? Effect.void : changed(provider, before, message._tag === "Heard")
  }

  const tell = (provider: string, message: Circuit.CircuitMessage): Effect.Effect<void> => Effect.suspend(() => tellNow(provider, message))

  const admit = (provider: string, probed: number | null): Permit => {
    const { epoch } = circuitOf(provider).snapshot()
    let told = false
    return {
      provider,
      probe: probed !== null,
      tell: (outcome) => {
        if (told) return Effect.void
        told = true
        const left = tellNow(provider, { _tag: "Outcome", epoch, outcome, now: clock.currentTimeMillisUnsafe() })
        return probed === null || outcome !== "ignored" ? left : Effect.andThen(left, others.freeProbe(provider, probed))
      }
    }
  }

  /** Leave to probe, here and among the others. */
  const probe = Effect.fnUntraced(function* (provider: string, openedAt: number, now: number) {
    // No await between the look and the turn: one probe at a time in this process.
    yield* tell(provider, { _tag: "Probe", until: now + PROBE_MS })
    const permit = admit(provider, openedAt)
    const taken = yield* Effect.onInterrupt(others.takeProbe(provider, openedAt), () => permit.tell("ignored"))
    if (taken) return permit
    yield* tell(provider, { _tag: "Probe", until: now + ASK_AGAIN_MS })
    return null
  })

  /** Leave from a circuit that is not closed. */
  const permitFrom = Effect.fnUntraced(function* (provider: string, seen: Exclude<Circuit.Circuit, { readonly state: "closed" }>) {
    const now = clock.currentTimeMillisUnsafe()
    const leave = Circuit.mayProbe(seen, now, options) ? yield* probe(provider, seen.openedAt, now) : null
    if (leave === null) series.rejected(provider).updateUnsafe(1, context)
    return leave
  })

  const permit = (provider: string): Effect.Effect<Permit | null> =>
    Effect.suspend(() => {
      if (!circuits.has(provider)) showState(provider, "closed")
      const seen = circuitOf(provider).snapshot()
      return seen.state === "closed" ? Effect.succeed(admit(provider, null)) : permitFrom(provider, seen)
    })

  const states = Effect.map(Clock.currentTimeMillis, (now) =>
    [...circuits].map(([provider, circuit]): BreakerState => {
      const seen = circuit.snapshot()
      const openedAt = seen.state === "closed" ? null : seen.openedAt
      return {
        provider,
        state: Circuit.mayProbe(seen, now, options) ? "half_open" : seen.state,
        failures: seen.failures,
        opened_at: openedAt === null ? null : new Date(openedAt).toISOString(),
        retry_at: openedAt === null || seen.state !== "open" ? null : new Date(openedAt + options.recoveryMs).toISOString()
      }
    })
  )

  return {
    service: Breakers.of({
      permit,
      states,
      reset: (provider) => tell(provider, { _tag: "Reset" }),
      look: (provider) => {
        const changedAt = changes.get(provider)
        return changedAt === undefined ? null : { state: circuitOf(provider).snapshot().state, changedAt }
      }
    }),
    hear: (provider: string, circuit: Circuit.SharedCircuit) => tell(provider, { _tag: "Heard", circuit }),
    /** Circuits that are not closed, as the others should know them. */
    open: () =>
      [...circuits].flatMap(([provider, circuit]) => {
        const seen = circuit.snapshot()
        return seen.state === "closed" ? [] : [[provider, { state: "open", failures: seen.failures, openedAt: seen.openedAt }] as const]
      })
  }
}

const makeLocal = (options: Circuit.BreakersOptions, others: Others) =>
  Effect.map(Effect.context<never>(), (context) => make(options, others, Context.get(context, Clock.Clock), context))

const CHANNEL = "breakers"

/** Transitions that wait to be told, at most; what is more is found out by the others themselves. */
const UNTOLD = 1_024

const makeShared: (options: Circuit.BreakersOptions) => Effect.Effect<Breakers["Service"], never, BreakerStore | Broadcast | Scope.Scope> =
  Effect.fnUntraced(function* (options) {
    const store = yield* BreakerStore
    const broadcast = yield* Broadcast
    const untold = yield* Queue.dropping<{ readonly provider: string; readonly circuit: Circuit.SharedCircuit }>(UNTOLD)
    const owner = String(yield* Random.nextInt)
    const local = yield* makeLocal(options, {
      tell: (provider, circuit) => {
        Queue.offerUnsafe(untold, { provider, circuit })
      },
      // Whoever cannot ask the others decides alone.
      takeProbe: (provider, openedAt) => Effect.orElseSucceed(store.takeProbe({ provider, openedAt, owner }, PROBE_MS), () => true),
      freeProbe: (provider, openedAt) => Effect.ignore(store.freeProbe({ provider, openedAt, owner }))
    })

    const tellOthers = Effect.flatMap(Queue.take(untold), (told) =>
      Effect.andThen(Effect.ignore(store.save(told.provider, told.circuit)), broadcast.publish(CHANNEL, encodeShared(told)))
    )

    /** What was missed is made up from the store, and what the store has lost from here. */
    const catchUp = Effect.gen(function* () {
      const kept = yield* store.load
      for (const [provider, circuit] of kept) yield* local.hear(provider, circuit)
      for (const [provider, circuit] of local.open()) if (!kept.has(provider)) Queue.offerUnsafe(untold, { provider, circuit })
    }).pipe(Effect.catch((error) => Effect.logDebug(`Circuits of other replicas could not be read: ${error.message}`)))

    const hear = (heard: Heard) => {
      if (heard._tag === "Gap") return catchUp
      const shared = Option.getOrNull(decodeShared(heard.message))
      return shared === null ? Effect.void : local.hear(shared.provider, shared.circuit)
    }

    yield* broadcast.subscribe(CHANNEL, hear)
    yield* Effect.forkScoped(Effect.forever(tellOthers))
    yield* catchUp
    return local.service
  })
