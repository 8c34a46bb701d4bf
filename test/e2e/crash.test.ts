/**
 * Money through real crashes: the server killed at random moments under load, and its database.
 *
 * `CRASH_ROUNDS` plays more or fewer rounds.
 */
import { setTimeout as wait } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { pico } from "../support/house.ts"
import {
  type Customer,
  creditsOf,
  type EntryRow,
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"
import { type RunningPostgres, startPostgres } from "../support/services.ts"

const ROUNDS = Number(process.env["CRASH_ROUNDS"] ?? 20)
const CALLERS = 16

const body = (stream: boolean) =>
  JSON.stringify({ model: "gpt-4o", max_tokens: 50, stream, messages: [{ role: "user", content: "hello" }] })

/** What callers saw: requests that were answered to the end, by the server's id of them. */
interface Seen {
  readonly ended: Array<string>
  started: number
}

/** Callers who ask again and again until told to stop; a broken connection is nothing to them. */
const load = (server: RunningServer, customer: Customer, seen: Seen) => {
  let running = true
  const caller = async (index: number) => {
    while (running) {
      const stream = index % 2 === 0
      seen.started++
      try {
        const response = await fetch(`${server.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
          body: body(stream)
        })
        const text = await response.text()
        const rid = response.headers.get("x-sluice-request-id")
        if (response.status === 200 && rid !== null && (!stream || text.endsWith("data: [DONE]\n\n"))) seen.ended.push(rid)
        if (response.status !== 200) await new Promise((resolve) => setTimeout(resolve, 20))
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
  }
  const callers = Array.from({ length: CALLERS }, (_, index) => caller(index))
  return async () => {
    running = false
    await Promise.all(callers)
  }
}

const allOf = async <A>(server: RunningServer, key: string, path: string): Promise<ReadonlyArray<A>> => {
  const rows: Array<A> = []
  let cursor: string | null = null
  do {
    const page: { body: { data: ReadonlyArray<A>; next_cursor: string | null } } = await jsonCall(
      server.url,
      key,
      "GET",
      `${path}?limit=1000${cursor === null ? "" : `&cursor=${cursor}`}`
    )
    rows.push(...page.body.data)
    cursor = page.body.next_cursor
  } while (cursor !== null)
  return rows
}

/** Every charge has its row, though rows are gathered when ends are not. */
const told = async (server: RunningServer, customer: Customer) => {
  await eventually(async () => {
    const charges = (await allOf<EntryRow>(server, customer.key, "/v1/credits/entries")).filter(({ kind }) => kind === "charge")
    const rows = await allOf<{ id: string; outcome: string; cost_usd: string }>(server, customer.key, "/v1/requests")
    const costs = new Map(rows.map((row) => [row.id, -pico(row.cost_usd)]))
    assert.deepStrictEqual(
      charges.filter((charge) => costs.get(charge.request_id ?? "") !== pico(charge.amount_usd)),
      []
    )
    const { total } = (await jsonCall<{ total: { requests: number } }>(server.url, customer.key, "GET", "/v1/usage?group_by=model")).body
    assert.strictEqual(total.requests, rows.length)
  }, 20_000)
}

/** Everything that was seen is charged once, nothing twice, nothing is held, and the book adds up. */
const sound = async (server: RunningServer, customer: Customer, seen: Seen) => {
  await eventually(async () => assert.strictEqual((await creditsOf(server, customer.key)).held_usd, "0.00"), 5_000)
  const entries = await allOf<EntryRow>(server, customer.key, "/v1/credits/entries")
  const charges = entries.filter((entry) => entry.kind === "charge")
  const charged = new Set(charges.map((entry) => entry.request_id))
  assert.strictEqual(charged.size, charges.length, "nothing is charged twice")
  assert.deepStrictEqual(
    seen.ended.filter((rid) => !charged.has(rid)),
    [],
    "whose end was seen is charged"
  )
  assert.isAtMost(charges.length, seen.started)
  const sum = entries.reduce((total, entry) => total + pico(entry.amount_usd), 0n)
  assert.strictEqual(pico((await creditsOf(server, customer.key)).purchased_usd), sum)
  assert.deepInclude((await server.admin("GET", "/admin/ledger/check")).body, { ok: true, violations: [] })
}

const settingsOf = (mock: MockProvider, more: Record<string, string>) => ({
  OPENAI_API_KEY: "sk-openai",
  OPENAI_BASE_URL: mock.url,
  ...more
})

for (const mode of ["embedded", "service"] as const) {
  describe(`kill -9 in ${mode} mode`, () => {
    let mock: MockProvider
    const directory = temporaryDirectory()
    beforeAll(async () => {
      mock = await startMockProvider()
      mock.script({ times: 1_000_000, chunks: 3, chunkDelayMs: 3 })
    })
    afterAll(async () => {
      await mock?.close()
      directory.remove()
    })

    it(`${ROUNDS} rounds at random moments under load: 0 charges lost, 0 twice, no hold left`, async () => {
      const database = mode === "embedded" ? {} : serviceSettings(await freshDatabase(inject("databaseUrl")))
      const settings = settingsOf(mock, { ...database, DATA_DIR: directory.path })
      const seen: Seen = { ended: [], started: 0 }
      let server = await startServer(settings)
      const customer = await newCustomer(server, { balanceUsd: "1000" })
      for (let round = 0; round < ROUNDS; round++) {
        const before = seen.ended.length
        const stop = load(server, customer, seen)
        // However slow the machine is just now, it dies while it serves.
        await eventually(() => assert.isAbove(seen.ended.length, before), 20_000)
        await wait(Math.random() * 400)
        await server.stop("SIGKILL")
        await stop()
        server = await startServer(settings)
        if (round % 5 === 4 || round === ROUNDS - 1) await sound(server, customer, seen)
      }
      assert.isAtLeast(seen.ended.length, ROUNDS)
      await told(server, customer)
      await server.stop()
    }, 240_000)
  })
}

describe("kill -9 right after an answer in embedded mode", () => {
  it("loses nothing and charges once, though the commit had not begun", async () => {
    const mock = await startMockProvider()
    const directory = temporaryDirectory()
    try {
      // The journal alone has the ends: none is committed before the process dies.
      const settings = settingsOf(mock, { DATA_DIR: directory.path, LEDGER_FLUSH_MS: "100" })
      const seen: Seen = { ended: [], started: 0 }
      let server = await startServer(settings)
      const customer = await newCustomer(server, { balanceUsd: "1000" })
      for (let round = 0; round < 3; round++) {
        for (let at = 0; at <= round; at++) {
          seen.started++
          const response = await fetch(`${server.url}/v1/chat/completions`, {
            method: "POST",
            headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
            body: body(at % 2 === 1)
          })
          await response.text()
          seen.ended.push(response.headers.get("x-sluice-request-id") ?? "")
        }
        await server.stop("SIGKILL")
        server = await startServer(settings)
        await sound(server, customer, seen)
      }
      assert.strictEqual(seen.ended.length, 6)
      assert.strictEqual(await server.stop(), 0)
    } finally {
      await mock.close()
      directory.remove()
    }
  }, 120_000)
})

describe("a database that dies under load", () => {
  let mock: MockProvider
  let postgres: RunningPostgres
  const directory = temporaryDirectory()
  beforeAll(async () => {
    mock = await startMockProvider()
    mock.script({ times: 1_000_000, chunks: 3, chunkDelayMs: 3 })
    postgres = await startPostgres()
  })
  afterAll(async () => {
    await mock?.close()
    await postgres?.stop()
    directory.remove()
  })

  const metric = async (server: RunningServer, name: string): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1] ?? 0)
  }

  it("is restarted three times: answers go on from what is leased, ends are kept, none is lost", async () => {
    const settings = settingsOf(mock, { ...serviceSettings(await freshDatabase(postgres.url)), DATA_DIR: directory.path })
    const server = await startServer(settings)
    const customer = await newCustomer(server, { balanceUsd: "1000" })
    const seen: Seen = { ended: [], started: 0 }
    const stop = load(server, customer, seen)
    await wait(500)
    for (let round = 0; round < 3; round++) {
      await postgres.crash()
      const before = seen.ended.length
      await wait(2_500)
      assert.isAbove(seen.ended.length, before, "requests are served while the database is away")
      await postgres.restart()
      await wait(700)
    }
    await stop()
    assert.isAbove(await metric(server, "sluice_ledger_journaled_total"), 0)
    assert.strictEqual(await metric(server, "sluice_ledger_unsecured_total"), 0)
    assert.isAbove(await metric(server, 'sluice_credit_deduction_total(?=[^\\n]*status="retried")'), 0)
    await eventually(() => sound(server, customer, seen), 10_000)
    assert.strictEqual(await server.stop(), 0)
  }, 120_000)

  it("takes the server with it: what the journal kept is charged by the next start", async () => {
    const settings = settingsOf(mock, { ...serviceSettings(await freshDatabase(postgres.url)), DATA_DIR: directory.path })
    const server = await startServer(settings)
    const customer = await newCustomer(server, { balanceUsd: "1000" })
    const seen: Seen = { ended: [], started: 0 }
    const stop = load(server, customer, seen)
    await wait(500)
    await postgres.crash()
    const before = seen.ended.length
    await wait(2_500)
    assert.isAbove(seen.ended.length, before)
    await server.stop("SIGKILL")
    await stop()
    await postgres.restart()
    const again = await startServer(settings)
    await sound(again, customer, seen)
    await again.stop()
  }, 120_000)

  /** Stops a server under load while its database is away; what it said. */
  const stopAway = async (settings: Record<string, string>, leave: () => Promise<void>, comeBack: () => Promise<void>) => {
    const server = await startServer(settings)
    const customer = await newCustomer(server, { balanceUsd: "1000" })
    const seen: Seen = { ended: [], started: 0 }
    const stop = load(server, customer, seen)
    await eventually(() => assert.isAbove(seen.ended.length, 50), 20_000)
    await leave()
    await eventually(async () => assert.isAbove(await metric(server, "sluice_ledger_journaled_total"), 0), 20_000)
    const since = Date.now()
    const code = await server.stop()
    const took = Date.now() - since
    await stop()
    assert.strictEqual(code, 0, server.output().slice(-2_000))
    assert.isBelow(took, 20_000, server.output().slice(-2_000))
    await comeBack()
    const again = await startServer(settings)
    await sound(again, customer, seen)
    const live = await runSql(settings["DATABASE_URL"] ?? "", "SELECT id FROM ledger_nodes WHERE state = 'live'")
    assert.strictEqual(live.length, 1, "the one before is not waited for")
    assert.strictEqual(await again.stop(), 0)
    return server.output()
  }

  it("does not keep the server from a stop: what is owed is left to the journal, and charged by the next start", async () => {
    const settings = settingsOf(mock, { ...serviceSettings(await freshDatabase(postgres.url)), DATA_DIR: directory.path })
    for (let round = 0; round < 2; round++) {
      const said = await stopAway(settings, postgres.crash, postgres.restart)
      assert.match(said, /The database is away: [1-9]\d* settlements are left to the journal/)
      assert.notInclude(said, "may be lost")
      assert.isAtMost(said.split("A ledger batch failed").length - 1, 1, "an outage is told once")
    }
  }, 180_000)
})

describe("two replicas on one database", () => {
  it("serve exactly the 20 of 200 requests that the account can pay for", async () => {
    const mock = await startMockProvider()
    const directories = [temporaryDirectory(), temporaryDirectory()]
    const database = serviceSettings(await freshDatabase(inject("databaseUrl")), inject("redisUrl"))
    const replicas: Array<RunningServer> = []
    try {
      for (const directory of directories) replicas.push(await startServer(settingsOf(mock, { ...database, DATA_DIR: directory.path })))
      const [first] = replicas
      if (first === undefined) return assert.fail("no replica")
      // Each may cost 2 prompt tokens and 100 output tokens: 0.001005 USD.
      const poor = await newCustomer(first, { balanceUsd: "0.0201" })
      mock.script({ times: 500, headDelayMs: 150, usage: { prompt_tokens: 2, completion_tokens: 100, total_tokens: 102 } })
      const ask = { model: "gpt-4o", messages: [{ role: "user", content: "hello" }], max_tokens: 100 }
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, i) =>
          jsonCall(replicas[i % 2]?.url ?? first.url, poor.key, "POST", "/v1/chat/completions", ask).then((answer) => answer.status)
        )
      )
      assert.strictEqual(answers.filter((status) => status === 200).length, 20)
      assert.strictEqual(answers.filter((status) => status === 402).length, 180)
      assert.strictEqual(mock.calls().length, 20)
      for (const replica of replicas) assert.strictEqual(pico((await creditsOf(replica, poor.key)).available_usd), 0n)
      assert.deepInclude((await first.admin("GET", "/admin/ledger/check")).body, { ok: true, violations: [] })
    } finally {
      for (const replica of replicas) await replica.stop()
      await mock.close()
      for (const directory of directories) directory.remove()
    }
  }, 60_000)

  it("one is killed under load: the other goes on, nothing is lost or charged twice, and what the dead one had leased comes back", async () => {
    const mock = await startMockProvider()
    mock.script({ times: 1_000_000, chunks: 3, chunkDelayMs: 3 })
    const directories = [temporaryDirectory(), temporaryDirectory()]
    const database = serviceSettings(await freshDatabase(inject("databaseUrl")), inject("redisUrl"))
    const replicas: Array<RunningServer> = []
    try {
      for (const directory of directories) replicas.push(await startServer(settingsOf(mock, { ...database, DATA_DIR: directory.path })))
      const [victim, other] = replicas
      if (victim === undefined || other === undefined) return assert.fail("no replica")
      const customer = await newCustomer(other, { balanceUsd: "20" })
      const seen: Seen = { ended: [], started: 0 }
      const stops = [victim, other].map((server) => load(server, customer, seen))
      await eventually(() => assert.isAbove(seen.ended.length, 100), 20_000)
      await victim.stop("SIGKILL")
      const before = seen.ended.length
      await eventually(() => assert.isAbove(seen.ended.length, before + 100), 20_000)
      for (const stop of stops) await stop()
      // The other, of the same host, finds out at its next look.
      await eventually(async () => {
        const alive = await runSql(database["DATABASE_URL"] ?? "", "SELECT id FROM ledger_nodes WHERE state = 'live'")
        assert.strictEqual(alive.length, 1)
      }, 15_000)
      await eventually(() => sound(other, customer, seen), 10_000)
      assert.strictEqual(await other.stop(), 0)
    } finally {
      for (const replica of replicas) await replica.stop()
      await mock.close()
      for (const directory of directories) directory.remove()
    }
  }, 90_000)
})
