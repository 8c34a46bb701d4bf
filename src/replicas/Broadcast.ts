/**
 * Short messages from one replica to all, this one among them.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Queue, type Scope } from "effect"

/** What a listener is told. @category models @since 0.1.0 */
export type Heard =
  | { readonly _tag: "Message"; readonly message: string }
  /** Messages may have been missed: whatever was built from them has to be looked up anew, or given up. */
  | { readonly _tag: "Gap" }

/**
 * **Gotchas**: a message reaches each replica at most once. What must not be lost is kept elsewhere, and looked up after a
 * `Gap`.
 *
 * @category services
 * @since 0.1.0
 */
export class Broadcast extends Context.Service<
  Broadcast,
  {
    /** Hands a message to the listeners here at once, and sends it to the other replicas. Never waits for either. */
    readonly publish: (channel: string, message: string) => Effect.Effect<void>
    /** Tells `listener` what is heard on a channel, one after the other, until the Scope closes. What it throws harms nobody. */
    readonly subscribe: (channel: string, listener: (heard: Heard) => Effect.Effect<void>) => Effect.Effect<void, never, Scope.Scope>
    /** Whether the other replicas can be heard just now. Alone: true. */
    readonly isConnected: () => boolean
  }
>()("sluice/replicas/Broadcast") {
  /** One process, nobody else to tell. */
  static readonly layerMemory = Layer.sync(this, () => {
    const listeners = makeListeners()
    return Broadcast.of({
      publish: (channel, message) => Effect.sync(() => listeners.tell(channel, { _tag: "Message", message })),
      subscribe: listeners.subscribe,
      isConnected: () => true
    })
  })
}

/** What one listener may leave unheard; more is a gap. */
const MAILBOX = 4_096

/** Who listens in this process. @category models @since 0.1.0 */
export interface Listeners {
  readonly tell: (channel: string, heard: Heard) => void
  /** Tells everybody of a gap. */
  readonly gap: () => void
  readonly subscribe: Broadcast["Service"]["subscribe"]
}

/** @category constructors @since 0.1.0 */
export const makeListeners = (): Listeners => {
  const channels = new Map<string, Set<Queue.Queue<Heard>>>()

  const put = (queue: Queue.Queue<Heard>, heard: Heard): void => {
    // A listener that is this far behind knows nothing for sure: all it has to hear is that.
    if (Queue.sizeUnsafe(queue) >= MAILBOX) {
      while (Queue.takeUnsafe(queue) !== undefined);
      Queue.offerUnsafe(queue, { _tag: "Gap" })
    }
    Queue.offerUnsafe(queue, heard)
  }

  const subscribe: Broadcast["Service"]["subscribe"] = Effect.fnUntraced(function* (channel, listener) {
    const queue = yield* Queue.unbounded<Heard>()
    const others = channels.get(channel) ?? new Set()
    channels.set(channel, others)
    yield* Effect.acquireRelease(
      Effect.sync(() => others.add(queue)),
      () => Effect.sync(() => others.delete(queue))
    )
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.flatMap(Queue.take(queue), (heard) =>
          Effect.catchCause(listener(heard), (cause) => Effect.logError(`A listener of ${channel} failed`, cause))
        )
      ),
      { startImmediately: true }
    )
  })

  return {
    tell: (channel, heard) => {
      for (const queue of channels.get(channel) ?? []) put(queue, heard)
    },
    gap: () => {
      for (const queues of channels.values()) for (const queue of queues) put(queue, { _tag: "Gap" })
    },
    subscribe
  }
}
