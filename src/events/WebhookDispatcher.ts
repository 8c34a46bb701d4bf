/**
 * Brings events to the endpoints that asked for them.
 *
 * A plain table with leases, over the one SQL, and no queue of a library: an attempt is a row that the customer reads, tried
 * again at times of its own, in an order that holds within one endpoint only, and written by the same transaction as what it
 * tells of. `PersistedQueue` has none of these four, and effect's workflows would keep the same facts twice.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Latch, Layer, Metric, Random, Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import type { Fernet } from "../identity/Fernet.ts"
import { Ledger } from "../ledger/Ledger.ts"
import * as Singletons from "../replicas/Singletons.ts"
import { type Attempted, type DeliveryBook, type DueDelivery, make as makeBook, type TakenEndpoint } from "./DeliveryBook.ts"
import { WebhookSender } from "./WebhookSender.ts"

/** @category models @since 0.1.0 */
export interface WebhookDispatcherOptions {
  readonly fernet: Fernet
  /** Milliseconds from a failed attempt to the next, in turn; there is one attempt more than there are pauses. */
  readonly pauses?: ReadonlyArray<number>
  readonly lookEveryMs?: number
}

/** @category services @since 0.1.0 */
export class WebhookDispatcher extends Context.Service<
  WebhookDispatcher,
  {
    /** Something may be due: looks now instead of at its next turn. */
    readonly wake: Effect.Effect<void>
  }
>()("sluice/events/WebhookDispatcher") {
  static readonly layer = (options: WebhookDispatcherOptions) => Layer.effect(this, make(options))
}

/** Endpoints served at once. Those whose last attempt failed share a part of these, so that they never hold up the others. */
const AT_ONCE = 64
const FAILING_AT_ONCE = 24
/** Deliveries of one endpoint until another has its turn. */
const TURN = 20
const LOOK_EVERY = 1_000
/** How long attempts that are under way may take when the process ends; then they are cut, and made again by who is left. */
const LAST = 3_000
/** How long what was told is kept, and how much of it goes at once. */
const KEEP_DAYS = 30
const FORGET_EVERY = 3_600_000
const FORGET_AT_ONCE = 500

const PAUSES = [1_000, 5_000, 30_000, 300_000, 1_800_000]
const JITTER = 0.2

const attempts = Metric.counter("sluice_webhook_attempts_total", {
  description: "Attempts to deliver a webhook, by result",
  incremental: true
})

/** What is asked for by a status that is no success. */
const refusal = (status: number): string =>
  status >= 300 && status < 400 ? `The answer was ${status}; redirects are not followed.` : `The answer was ${status}.`

const make = Effect.fnUntraced(function* (
  options: WebhookDispatcherOptions
): Effect.fn.Return<WebhookDispatcher["Service"], never, WebhookSender | Ledger | Scope.Scope | SqlClient.SqlClient> {
  const book = yield* makeBook(options.fernet)
  const sender = yield* WebhookSender
  const ledger = yield* Ledger
  const scope = yield* Scope.fork(yield* Effect.scope)
  const wake = Latch.makeUnsafe(true)
  const idle = Latch.makeUnsafe(true)
  const { lookEveryMs = LOOK_EVERY, pauses = PAUSES } = options
  let busy = 0
  let busyFailing = 0
  let isClosing = false
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosing = true
      return Effect.raceFirst(idle.await, Effect.sleep(LAST))
    })
  )

  const attempt = Effect.fnUntraced(function* (endpoint: TakenEndpoint, delivery: DueDelivery): Effect.fn.Return<Attempted> {
    const startedAt = yield* Clock.currentTimeMillis
    const message = {
      url: new URL(endpoint.url),
      id: delivery.eventId,
      timestamp: Math.floor(startedAt / 1_000),
      body: delivery.body,
      secrets: endpoint.secrets
    }
    // Nothing leaves unsigned.
    const reply = message.secrets.length > 0 ? yield* sender.send(message) : { failure: "The endpoint's secret cannot be read: rotate it." }
    const durationMs = (yield* Clock.currentTimeMillis) - startedAt
    const statusCode = "status" in reply ? reply.status : null
    const delivered = statusCode !== null && statusCode >= 200 && statusCode < 300
    yield* Metric.update(Metric.withAttributes(attempts, { result: delivered ? "delivered" : "failed" }), 1)
    if (delivered) return { delivered, statusCode, durationMs, error: null, againInMs: null }
    const pause = pauses[delivery.attempt - 1]
    const jitter = 1 - JITTER + 2 * JITTER * (yield* Random.next)
    return {
      delivered,
      statusCode,
      durationMs,
      error: "status" in reply ? refusal(reply.status) : reply.failure,
      againInMs: pause === undefined ? null : pause * jitter
    }
  })

  const serve = Effect.fnUntraced(function* (node: string, endpoint: TakenEndpoint) {
    for (let turn = 0; turn < TURN; turn++) {
      const delivery = yield* book.next(node, endpoint.id)
      if (delivery === null) return
      const attempted = yield* attempt(endpoint, delivery)
      yield* book.record(node, endpoint.id, delivery, attempted)
      if (!attempted.delivered || isClosing) return
    }
  })

  const told = (what: string) => (error: unknown) => Effect.logWarning(`${what}: ${messageOf(error).slice(0, 300)}`)

  const start = (node: string, endpoint: TakenEndpoint) => {
    busy++
    idle.closeUnsafe()
    if (endpoint.failing) busyFailing++
    const left = Effect.suspend(() => {
      busy--
      if (endpoint.failing) busyFailing--
      const given = Effect.andThen(Effect.ignore(book.leave(node, endpoint.id)), wake.open)
      return busy === 0
        ? Effect.ensuring(
            given,
            Effect.suspend(() => (busy === 0 ? idle.open : Effect.void))
          )
        : given
    })
    const served = Effect.catch(serve(node, endpoint), told("Webhooks could not be delivered"))
    return Effect.forkIn(
      Effect.onExit(served, () => left),
      scope
    )
  }

  const take = Effect.fnUntraced(function* (failing: boolean, limit: number) {
    if (limit <= 0) return
    const node = ledger.node()
    for (const endpoint of yield* book.take(node, failing, limit)) yield* start(node, endpoint)
  })

  const pass = Effect.gen(function* () {
    yield* take(false, AT_ONCE - busy)
    yield* take(true, Math.min(AT_ONCE - busy, FAILING_AT_ONCE - busyFailing))
  })

  const forget = forgetIn(book)
  const soon = Effect.race(
    Effect.suspend(() => wake.await),
    Effect.sleep(lookEveryMs)
  )
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* soon
        wake.closeUnsafe()
        yield* Effect.catch(pass, told("Webhooks could not be looked for"))
      })
    )
  )
  yield* Singletons.every("old events", FORGET_EVERY, Effect.catch(forget, told("Events could not be forgotten")))
  return WebhookDispatcher.of({ wake: wake.open })
})

const forgetIn = (book: DeliveryBook) =>
  Effect.gen(function* () {
    while ((yield* book.forget(KEEP_DAYS, FORGET_AT_ONCE)) === FORGET_AT_ONCE) yield* Effect.sleep(100)
  })
