/**
 * What happened, told to whoever asked to be told: an event becomes a delivery to each endpoint that wants it.
 *
 * Events of credits are not told here but by the transaction that moves them; see `EventsSchema`.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Metric, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import type { EventType } from "../../schemas/Webhook.ts"
import { isDataError, messageOf } from "../database/Failures.ts"

/** One thing that happened. @category models @since 0.1.0 */
export interface BusEvent {
  /** Whom it is about; null tells every account that asked for the type. */
  readonly accountId: AccountId | null
  readonly type: EventType
  readonly data: Readonly<Record<string, unknown>>
  /** Names what is told at most once to an account, by whichever replica. */
  readonly once?: string
}

/** The event could not be written. @category errors @since 0.1.0 */
export class EventBusError extends Schema.TaggedError<EventBusError>()("EventBusError", { message: Schema.String }) {}

/** @category services @since 0.1.0 */
export class EventBus extends Context.Service<
  EventBus,
  {
    /** Has an event written soon. Never waits; while the database is away a bounded number is kept. */
    readonly publish: (event: BusEvent) => Effect.Effect<void>
    /** Writes an event now: inside of the caller's transaction it is there when that is. */
    readonly write: (event: BusEvent) => Effect.Effect<void, EventBusError>
  }
>()("sluice/events/EventBus") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const QUEUE_MAX = 10_000
const PAUSE = 1_000
/** How long the last events may take when the process ends. */
const LAST = 5_000

const published = Metric.counter("sluice_events_total", { description: "Events told, by type", incremental: true })
const dropped = Metric.counter("sluice_events_dropped_total", { description: "Events that could not be written", incremental: true })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const queue: Array<BusEvent> = []
  const wake = Latch.makeUnsafe(false)

  const insert = (event: BusEvent) => {
    const data = JSON.stringify(event.data)
    const once = event.once ?? null
    return Effect.andThen(
      event.accountId === null
        ? sql`SELECT event_broadcast(${event.type}, ${data}::text::jsonb, ${once}::text)`
        : sql`SELECT event_emit(${event.accountId}, ${event.type}, ${data}::text::jsonb, ${once}::text)`,
      Metric.update(Metric.withAttributes(published, { type: event.type }), 1)
    )
  }

  /** Writes what is queued, in order; false when the database is away. */
  const flush = Effect.gen(function* () {
    for (let event = queue[0]; event !== undefined; event = queue[0]) {
      const written = yield* Effect.result(insert(event))
      if (written._tag === "Failure") {
        const why = messageOf(written.failure).slice(0, 300)
        if (!isDataError(written.failure)) {
          yield* Effect.logWarning(`Events could not be written and are kept: ${why}`)
          return false
        }
        yield* Effect.logError(`An event of type ${event.type} can never be written: ${why}`)
        yield* Metric.update(dropped, 1)
      }
      if (queue[0] === event) queue.shift()
    }
    return true
  })

  const publish = (event: BusEvent) =>
    Effect.suspend(() => {
      if (queue.length >= QUEUE_MAX) return Metric.update(dropped, 1)
      queue.push(event)
      wake.openUnsafe()
      return Effect.void
    })

  yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(flush, LAST)))
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* wake.await
        wake.closeUnsafe()
        while (!(yield* flush)) yield* Effect.sleep(PAUSE)
      })
    )
  )
  return EventBus.of({
    publish,
    write: (event) => Effect.mapError(insert(event), (error) => new EventBusError({ message: messageOf(error).slice(0, 300) }))
  })
})
