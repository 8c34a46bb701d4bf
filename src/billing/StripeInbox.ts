/**
 * Stripe's events: kept first, processed then, tried again until they are.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Metric, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { actionOf, PaymentEvent, subjectOf } from "./PaymentEvent.ts"
import { Purchases } from "./Purchases.ts"

/** The event is not signed by who it says it is from. @category errors @since 0.1.0 */
export class BadSignature extends Schema.TaggedError<BadSignature>()("BadSignature", { message: Schema.String }) {}

/** The event could not be kept: whoever sent it must send it again. @category errors @since 0.1.0 */
export class InboxUnavailable extends Schema.TaggedError<InboxUnavailable>()("InboxUnavailable", { message: Schema.String }) {}

/** Proves who an event is from; null where no secret was given. @category services @since 0.1.0 */
export class PaymentSignatures extends Context.Service<
  PaymentSignatures,
  { readonly verify: ((body: string, signature: string) => Effect.Effect<void, BadSignature>) | null }
>()("sluice/billing/PaymentSignatures") {}

/** @category services @since 0.1.0 */
export class StripeInbox extends Context.Service<
  StripeInbox,
  {
    /** Keeps an event, once, and has it processed soon. What is not signed right, or no event, is not kept. */
    readonly receive: (body: string, signature: string | null) => Effect.Effect<"kept" | "passed over", InboxUnavailable>
    /** Processes what is due; gives how many were tried. */
    readonly processDue: Effect.Effect<number>
  }
>()("sluice/billing/StripeInbox") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** Attempts until an event is left for the operator: about four days. */
const ATTEMPTS = 20
const LONGEST_PAUSE_S = 6 * 3_600
const LOOK_EVERY = 2_000

const events = Metric.counter("sluice_stripe_events_total", { description: "Stripe events by what became of them", incremental: true })
const counted = (result: string) => Metric.update(Metric.withAttributes(events, { result }), 1)

const Due = Schema.Array(Schema.Struct({ id: Schema.String, payload: Schema.String, superseded: Schema.Boolean }))
const decodeEvent = Schema.decodeUnknownEffect(Schema.fromJsonString(PaymentEvent))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const signatures = yield* PaymentSignatures
  const purchases = yield* Purchases
  const wake = Latch.makeUnsafe(true)

  const receive = Effect.fnUntraced(
    function* (body: string, signature: string | null) {
      if (signatures.verify === null) return "passed over" as const
      if (signature === null) return yield* new BadSignature({ message: "there is no signature" })
      yield* signatures.verify(body, signature)
      const event = yield* decodeEvent(body)
      const row = [event.id, event.type, subjectOf(event), body, new Date((event.created ?? 0) * 1_000).toISOString()] as const
      yield* Effect.mapError(
        sql`INSERT INTO stripe_events (id, type, subject, payload, made_at)
          VALUES (${row[0]}, ${row[1]}, ${row[2]}, ${row[3]}, ${row[4]}::text::timestamptz) ON CONFLICT (id) DO NOTHING`,
        (error) => new InboxUnavailable({ message: messageOf(error) })
      )
      yield* counted("kept")
      wake.openUnsafe()
      return "kept" as const
    },
    Effect.catchTags({
      BadSignature: (error) =>
        Effect.andThen(
          Effect.andThen(Effect.logWarning(`A Stripe event is not signed right: ${error.message}`), counted("bad signature")),
          Effect.succeed("passed over" as const)
        ),
      SchemaError: () => Effect.as(counted("not an event"), "passed over" as const)
    })
  )

  /** One event, in one transaction with all that it does. */
  const processOne = sql.withTransaction(
    Effect.gen(function* () {
      const rows = yield* sql`SELECT e.id, e.payload, EXISTS (SELECT 1 FROM stripe_events l
          WHERE l.subject = e.subject AND l.made_at > e.made_at AND l.state = 'done') AS superseded
        FROM stripe_events e WHERE e.state = 'pending' AND e.next_at <= clock_timestamp()
        ORDER BY e.next_at, e.made_at LIMIT 1 FOR UPDATE OF e SKIP LOCKED`
      const [due] = yield* Schema.decodeUnknownEffect(Due)(rows)
      if (due === undefined) return null
      const tried = yield* Effect.result(
        sql.withTransaction(
          Effect.gen(function* () {
            if (due.superseded) return { state: "ignored", detail: "a later event of the same subscription came before" }
            const action = actionOf(yield* decodeEvent(due.payload))
            const detail = yield* purchases.apply(action)
            return { state: action._tag === "Ignore" ? "ignored" : "done", detail }
          })
        )
      )
      if (tried._tag === "Success") {
        const { detail, state } = tried.success
        yield* sql`UPDATE stripe_events SET state = ${state}, detail = ${detail}, attempts = attempts + 1, processed_at = clock_timestamp() WHERE id = ${due.id}`
        yield* counted(state)
        return due.id
      }
      const why = messageOf(tried.failure).trim().slice(0, 500)
      yield* sql`UPDATE stripe_events SET attempts = attempts + 1, detail = ${why},
          state = CASE WHEN attempts + 1 >= ${String(ATTEMPTS)}::text::int THEN 'failed' ELSE 'pending' END,
          next_at = clock_timestamp() + least(power(2, attempts), ${String(LONGEST_PAUSE_S)}::text::int) * interval '1 second'
        WHERE id = ${due.id}`
      yield* Effect.logWarning(`The Stripe event ${due.id} could not be processed and is tried again: ${why}`)
      yield* counted("retried")
      return due.id
    })
  )

  const processDue: Effect.Effect<number> = Effect.gen(function* () {
    let tried = 0
    while ((yield* processOne) !== null) tried++
    return tried
  }).pipe(
    Effect.catch((error) => Effect.as(Effect.logWarning(`Stripe events could not be processed: ${messageOf(error).slice(0, 300)}`), 0))
  )

  if (signatures.verify !== null) {
    const soon = Effect.race(
      Effect.suspend(() => wake.await),
      Effect.sleep(LOOK_EVERY)
    )
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.gen(function* () {
          yield* soon
          wake.closeUnsafe()
          yield* processDue
        })
      )
    )
  }
  return StripeInbox.of({ receive, processDue })
})
