/**
 * Deliveries on both databases: when they are tried again, by whom, in what order.
 */
import { assert, layer as shared } from "@effect/vitest"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { EventBus } from "../../src/events/EventBus.ts"
import { WebhookDispatcher } from "../../src/events/WebhookDispatcher.ts"
import { type WebhookMessage, type WebhookReply, WebhookSender } from "../../src/events/WebhookSender.ts"
import { Webhooks } from "../../src/events/Webhooks.ts"
import * as Fernet from "../../src/identity/Fernet.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import { freshDatabase } from "../support/database.ts"

interface Sent {
  readonly message: WebhookMessage
  readonly at: number
}

/** A way out that notes what is sent, and answers by a function. */
const scripted = (answer: (message: WebhookMessage, calls: number) => Effect.Effect<WebhookReply>) => {
  const sent: Array<Sent> = []
  const atOnce = new Map<string, number>()
  const most = new Map<string, number>()
  const send = (message: WebhookMessage) =>
    Effect.suspend(() => {
      sent.push({ message, at: performance.now() })
      const { href } = message.url
      const now = (atOnce.get(href) ?? 0) + 1
      atOnce.set(href, now)
      most.set(href, Math.max(now, most.get(href) ?? 0))
      return Effect.ensuring(
        answer(message, sent.length),
        Effect.sync(() => atOnce.set(href, (atOnce.get(href) ?? 1) - 1))
      )
    })
  return { sent, most, layer: Layer.succeed(WebhookSender, { send, judge: () => Effect.succeed(null) }) }
}

const key = Redacted.make(Buffer.alloc(32, 3).toString("base64url"))
let accounts = 0

const newAccount = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const id = `account-${process.pid}-${accounts++}`
  yield* sql`INSERT INTO accounts (id) VALUES (${id})`
  return id
})

/** A process in the ledger's book. */
const newNode = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ id: string }>`INSERT INTO ledger_nodes (host, process) VALUES ('test', 'test') RETURNING id::text AS id`
  return rows[0]?.id ?? ""
})

/** One replica: its dispatcher, and the services of endpoints. */
const replica = (node: string, sender: Layer.Layer<WebhookSender>, pauses?: ReadonlyArray<number>) =>
  Layer.unwrap(
    Effect.map(Fernet.make([key]), (fernet) =>
      Webhooks.layer({ fernet }).pipe(
        Layer.provideMerge(WebhookDispatcher.layer({ fernet, lookEveryMs: 20, ...(pauses === undefined ? {} : { pauses }) })),
        Layer.provideMerge(EventBus.layer),
        Layer.provide([
          sender,
          Layer.mock(Ledger, { node: () => node, tryHold: () => null, settleNow: () => null, releaseNow: () => undefined })
        ])
      )
    )
  ).pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

const until = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  look.pipe(
    Effect.filterOrFail(holds, () => new Error("not yet")),
    Effect.retry({ schedule: Schedule.spaced(20), times: 1_000 })
  )

const ok: Effect.Effect<WebhookReply> = Effect.succeed({ status: 200 })

const contract = (name: string, database: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  shared(database, { excludeTestServices: true, timeout: 60_000 })(`deliveries on ${name}`, (it) => {
    it.effect(
      "CM-16.4 a failed delivery is tried again after ever longer pauses, six times in all, each attempt logged",
      () =>
        Effect.gen(function* () {
          const account = yield* newAccount
          const { layer, sent } = scripted(() => Effect.succeed({ status: 500 }))
          yield* Effect.gen(function* () {
            const webhooks = yield* Webhooks
            const { webhook } = yield* webhooks.create(account, { url: "https://failing.test/", events: ["credits.added"] })
            yield* webhooks.test(account, webhook.id)
            const log = Effect.map(webhooks.deliveries(account, webhook.id, { limit: 100, cursor: null }), ({ data }) => data)
            const rows = yield* until(log, (rows) => rows.length === 6 && rows.every((row) => row.status === "failed"))
            assert.deepStrictEqual(
              rows.map(({ attempt, error, status_code }) => ({ attempt, error, status_code })),
              [6, 5, 4, 3, 2, 1].map((attempt) => ({ attempt, error: "The answer was 500.", status_code: 500 }))
            )
            assert.deepStrictEqual(
              rows.map((row) => row.next_at === null),
              [true, false, false, false, false, false]
            )
            assert.isTrue(rows.every((row) => row.duration_ms !== null))
            const gaps = sent.slice(1).map(({ at }, i) => at - (sent[i]?.at ?? 0))
            assert.strictEqual(gaps.length, 5)
            for (let i = 1; i < gaps.length; i++) assert.isAbove(gaps[i] ?? 0, gaps[i - 1] ?? 0)
            assert.strictEqual(new Set(sent.map(({ message }) => `${message.id} ${message.body}`)).size, 1, "the same message each time")
          }).pipe(Effect.provide(replica(yield* newNode, layer, [40, 150, 400, 900, 1_800])))
        }),
      30_000
    )

    it.effect("CM-16.4 the pauses are 1 s, 5 s, 30 s, 5 min and 30 min, jittered", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const account = yield* newAccount
        const { layer } = scripted(() => Effect.succeed({ failure: "The connection was refused." }))
        yield* Effect.gen(function* () {
          const webhooks = yield* Webhooks
          const { webhook } = yield* webhooks.create(account, { url: "https://away.test/", events: ["credits.added"] })
          yield* webhooks.change(account, webhook.id, { enabled: false })
          // One event that stands at each of its attempts.
          yield* sql`WITH e AS (INSERT INTO events (account, type, data) VALUES (${account}, 'credits.added', '{}') RETURNING seq)
            INSERT INTO webhook_deliveries (webhook, event, attempt) SELECT ${webhook.id}, seq, n FROM e, generate_series(1, 6) n`
          yield* webhooks.change(account, webhook.id, { enabled: true })
          const pauses = sql<{
            pause: string | null
          }>`SELECT (extract(epoch FROM next_at - clock_timestamp()))::text AS pause FROM webhook_deliveries
            WHERE webhook = ${webhook.id} AND status = 'failed' AND attempt = id - (SELECT min(id) - 1 FROM webhook_deliveries WHERE webhook = ${webhook.id})
            ORDER BY attempt`
          const rows = yield* until(pauses, (rows) => rows.length === 6)
          for (const [i, pause] of [1, 5, 30, 300, 1_800].entries()) {
            const seconds = Number(rows[i]?.pause)
            assert.isAtMost(seconds, pause * 1.2)
            // Time has gone by since.
            assert.isAtLeast(seconds, pause * 0.8 - 5)
          }
          assert.isNull(rows[5]?.pause)
        }).pipe(Effect.provide(replica(yield* newNode, layer)))
      })
    )

    it.effect("two replicas send each event once to each endpoint, in the order of events, one at a time", () =>
      Effect.gen(function* () {
        const account = yield* newAccount
        const { layer, most, sent } = scripted(() => Effect.delay(ok, 2))
        const [one, two] = [replica(yield* newNode, layer), replica(yield* newNode, layer)]
        yield* Effect.gen(function* () {
          const webhooks = yield* Webhooks
          const bus = yield* EventBus
          for (const host of ["a", "b", "c"]) {
            yield* webhooks.create(account, { url: `https://${host}.test/`, events: ["batch.completed"] })
          }
          for (let i = 0; i < 30; i++) yield* bus.publish({ accountId: account, type: "batch.completed", data: { i } })
          yield* until(
            Effect.sync(() => sent.length),
            (count) => count >= 90
          )
          for (const host of ["a", "b", "c"]) {
            const bodies = sent
              .filter(({ message }) => message.url.host === `${host}.test`)
              .map(({ message }) => JSON.parse(message.body).data.i)
            assert.deepStrictEqual(
              bodies,
              Array.from({ length: 30 }, (_, i) => i)
            )
          }
          assert.deepStrictEqual([...new Set(most.values())], [1])
        }).pipe(Effect.provide(one), Effect.provide(Layer.fresh(two)))
      })
    )

    it.effect("what is told once is told once; what nobody asked for is not kept; a broadcast reaches who asked", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const [first, second, third] = [yield* newAccount, yield* newAccount, yield* newAccount]
        const { layer, sent } = scripted(() => ok)
        yield* Effect.gen(function* () {
          const webhooks = yield* Webhooks
          const bus = yield* EventBus
          for (const account of [first, second]) {
            yield* webhooks.create(account, { url: `https://${account}.test/`, events: ["model.degraded"] })
          }
          yield* webhooks.create(third, { url: `https://${third}.test/`, events: ["credits.low"] })
          for (const once of ["incident 1", "incident 1", "incident 2"]) {
            yield* bus.publish({ accountId: null, type: "model.degraded", data: { model: "a/b", once }, once })
          }
          yield* bus.write({ accountId: third, type: "batch.completed", data: {} })
          yield* until(
            Effect.sync(() => sent.length),
            (count) => count >= 4
          )
          const told = sent.map(({ message }) => `${message.url.hostname.split(".")[0]} ${JSON.parse(message.body).data.once}`)
          assert.deepStrictEqual(
            told.sort(),
            [first, second].flatMap((account) => [`${account} incident 1`, `${account} incident 2`])
          )
          const kept = yield* sql`SELECT 1 FROM events WHERE account = ${third}`
          assert.strictEqual(kept.length, 0)
        }).pipe(Effect.provide(replica(yield* newNode, layer)))
      })
    )

    it.effect("an endpoint of a live process is left alone; one of a dead process is served anew, with what it may have sent", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const account = yield* newAccount
        const { layer, sent } = scripted(() => ok)
        const [own, other] = [yield* newNode, yield* newNode]
        yield* Effect.gen(function* () {
          const webhooks = yield* Webhooks
          const [taken, free] = yield* Effect.all([
            webhooks.create(account, { url: "https://taken.test/", events: ["credits.low"] }),
            webhooks.create(account, { url: "https://free.test/", events: ["credits.low"] })
          ])
          yield* sql`UPDATE webhooks SET lease_node = ${other}::text::bigint, lease_until = clock_timestamp() + interval '1 hour' WHERE id = ${taken.webhook.id}`
          yield* webhooks.test(account, taken.webhook.id)
          yield* webhooks.test(account, free.webhook.id)
          // What other tests have left to be tried again may come between.
          const hosts = Effect.sync(() => sent.map(({ message }) => message.url.host).filter((host) => /^(free|taken)\.test$/.test(host)))
          assert.deepStrictEqual(yield* until(hosts, (all) => all.length >= 1), ["free.test"])
          yield* sql`UPDATE ledger_nodes SET state = 'dead' WHERE id = ${other}::text::bigint`
          assert.deepStrictEqual(yield* until(hosts, (all) => all.length >= 2), ["free.test", "taken.test"])
        }).pipe(Effect.provide(replica(own, layer)))
      })
    )

    it.effect("endpoints that hang take a part of what is served at once, and no more", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { layer, sent } = scripted((message) => (message.url.host.startsWith("hanging") ? Effect.never : ok))
        yield* Effect.gen(function* () {
          const webhooks = yield* Webhooks
          for (let i = 0; i < 5; i++) {
            const account = yield* newAccount
            for (let j = 0; j < 10; j++) {
              const { webhook } = yield* webhooks.create(account, { url: `https://hanging${i}x${j}.test/`, events: ["credits.low"] })
              yield* sql`UPDATE webhooks SET failing = true WHERE id = ${webhook.id}`
              yield* webhooks.test(account, webhook.id)
            }
          }
          const account = yield* newAccount
          const { webhook } = yield* webhooks.create(account, { url: "https://quick.test/", events: ["credits.low"] })
          for (let i = 0; i < 60; i++) yield* webhooks.test(account, webhook.id)
          const hosts = Effect.sync(() => sent.map(({ message }) => message.url.host))
          yield* until(hosts, (all) => all.filter((host) => host === "quick.test").length === 60)
          assert.strictEqual((yield* hosts).filter((host) => host.startsWith("hanging")).length, 24)
        }).pipe(Effect.provide(replica(yield* newNode, layer)))
      })
    )

    it.effect("a secret that cannot be read any more sends nothing unsigned, and says so", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const account = yield* newAccount
        const { layer, sent } = scripted(() => ok)
        yield* Effect.gen(function* () {
          const webhooks = yield* Webhooks
          const { webhook } = yield* webhooks.create(account, { url: "https://mute.test/", events: ["credits.low"] })
          yield* sql`UPDATE webhooks SET secret = 'nonsense' WHERE id = ${webhook.id}`
          yield* webhooks.test(account, webhook.id)
          const log = Effect.map(webhooks.deliveries(account, webhook.id, { limit: 10, cursor: null }), ({ data }) => data.at(-1))
          const row = yield* until(log, (row) => row?.status === "failed")
          assert.strictEqual(row?.error, "The endpoint's secret cannot be read: rotate it.")
          assert.notInclude(
            sent.map(({ message }) => message.url.host),
            "mute.test"
          )
        }).pipe(Effect.provide(replica(yield* newNode, layer)))
      })
    )
  })

const migrated = <E>(database: Layer.Layer<SqlClient.SqlClient, E>) => Migrations.layer.pipe(Layer.provideMerge(database))
const url = await freshDatabase(inject("databaseUrl"))

contract("PGlite", migrated(PGlite.layer(null)))
contract("Postgres", migrated(Postgres.layer({ url: Redacted.make(url) })))
