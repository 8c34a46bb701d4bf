/**
 * Events through real crashes: the server killed in the middle of its deliveries.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { freshDatabase } from "../support/database.ts"
import { type Receiver, startReceiver, verify } from "../support/receiver.ts"
import {
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

interface Delivery {
  readonly status: string
  readonly attempt: number
}

describe("webhooks through a SIGTERM", () => {
  it("an attempt under way is finished; one that takes too long is handed back and made again under its id", async () => {
    const receiver = await startReceiver()
    const directory = temporaryDirectory()
    const database = await freshDatabase(inject("databaseUrl"))
    const settings = { ...serviceSettings(database), DATA_DIR: directory.path, WEBHOOK_ALLOWED_NETWORKS: "127.0.0.1/32" }
    let server = await startServer(settings)
    try {
      const customer = await newCustomer(server)
      const hookTo = async (path: string) =>
        (
          await jsonCall<{ id: string }>(server.url, customer.key, "POST", "/v1/webhooks", {
            url: receiver.url + path,
            events: ["credits.added"]
          })
        ).body.id
      const [slow, silent] = [await hookTo("/slow"), await hookTo("/silent")]
      receiver.answer("/slow", (response) => void setTimeout(() => response.writeHead(200).end(), 800))
      receiver.answer("/silent", "hang")
      await server.admin("POST", `/admin/users/${customer.id}/credits`, { amount_usd: "1", reference: "a payment" })
      const [first] = await receiver.at("/silent", 1)
      await receiver.at("/slow", 1)
      assert.strictEqual(await server.stop(), 0)
      receiver.answer("/silent", 200)
      server = await startServer(settings)
      const again = await receiver.at("/silent", 2)
      assert.strictEqual(again[1]?.headers["webhook-id"], first?.headers["webhook-id"])
      const log = (id: string) =>
        jsonCall<{ data: ReadonlyArray<Delivery> }>(server.url, customer.key, "GET", `/v1/webhooks/${id}/deliveries`)
      for (const id of [slow, silent])
        await eventually(async () =>
          assert.deepStrictEqual(
            (await log(id)).body.data.map(({ attempt, status }) => [attempt, status]),
            [[1, "delivered"]]
          )
        )
      assert.lengthOf(await receiver.at("/slow", 1), 1)
    } finally {
      await server.stop()
      await receiver.close()
      directory.remove()
    }
  }, 60_000)
})

describe("webhooks through a kill -9", () => {
  let receiver: Receiver
  beforeAll(async () => {
    receiver = await startReceiver()
  })
  afterAll(() => receiver?.close())

  const EVENTS = 12

  const killed = async (settings: Readonly<Record<string, string>>, path: string) => {
    let server: RunningServer = await startServer(settings)
    try {
      const customer = await newCustomer(server)
      const hook = await jsonCall<{ id: string; secret: string }>(server.url, customer.key, "POST", "/v1/webhooks", {
        url: receiver.url + path,
        events: ["credits.added"]
      })
      assert.strictEqual(hook.status, 201)
      // The third message is on its way when the server dies: it came, and nobody was told.
      receiver.answer(path, (response, call) => {
        if (call !== 3) response.writeHead(200).end()
      })
      for (let i = 0; i < EVENTS; i++) {
        const added = await server.admin("POST", `/admin/users/${customer.id}/credits`, { amount_usd: "1", reference: `payment ${i}` })
        assert.strictEqual(added.status, 200)
      }
      await receiver.at(path, 3)
      await server.stop("SIGKILL")
      server = await startServer(settings)
      const messages = await receiver.at(path, EVENTS + 1, 30_000)
      const references = messages.map((each) => each.event.data["reference"])
      assert.deepStrictEqual(
        references,
        [0, 1, 2, 2, ...Array.from({ length: EVENTS - 3 }, (_, i) => i + 3)].map((i) => `payment ${i}`),
        "in order, only the one on its way twice"
      )
      assert.strictEqual(messages[2]?.headers["webhook-id"], messages[3]?.headers["webhook-id"])
      assert.strictEqual(messages[2]?.body, messages[3]?.body)
      for (const message of messages) assert.isDefined(verify(hook.body.secret, message))
      await eventually(async () => {
        const log = await jsonCall<{ data: ReadonlyArray<{ status: string }> }>(
          server.url,
          customer.key,
          "GET",
          `/v1/webhooks/${hook.body.id}/deliveries`
        )
        assert.deepStrictEqual(
          log.body.data.map((row) => row.status),
          Array.from({ length: EVENTS }, () => "delivered")
        )
      })
    } finally {
      await server.stop()
    }
  }

  it("embedded: what was not delivered is delivered after the restart, in order, under the same ids", async () => {
    const directory = temporaryDirectory()
    await killed({ DATA_DIR: directory.path, WEBHOOK_ALLOWED_NETWORKS: "127.0.0.1" }, "/embedded")
    directory.remove()
  }, 60_000)

  it("with a database server: the same", async () => {
    const directory = temporaryDirectory()
    const database = await freshDatabase(inject("databaseUrl"))
    await killed({ ...serviceSettings(database), DATA_DIR: directory.path, WEBHOOK_ALLOWED_NETWORKS: "127.0.0.1/32" }, "/service")
    directory.remove()
  }, 60_000)
})
