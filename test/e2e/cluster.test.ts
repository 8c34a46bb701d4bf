/**
 * Work that one replica does for all: only one does it, and another when that one is gone.
 */
import { createServer } from "node:http"
import { assert, describe, inject, it } from "@effect/vitest"
import { freshDatabase, runSql } from "../support/database.ts"
import { eventually, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

/** A provider whose list of models is read by whoever reads lists; tells one replica's reads from another's. */
const startList = () =>
  new Promise<{ readonly url: string; readonly reads: () => number; readonly close: () => void }>((resolve) => {
    let reads = 0
    const server = createServer((request, response) => {
      if (request.method === "GET") reads++
      response.writeHead(200, { "content-type": "application/json" }).end('{"object":"list","data":[{"id":"gpt-4o","object":"model"}]}')
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      resolve({ url: `http://127.0.0.1:${port}/v1`, reads: () => reads, close: () => server.close() })
    })
  })

interface Replica {
  readonly server: RunningServer
  readonly list: Awaited<ReturnType<typeof startList>>
}

describe("work that is done once", () => {
  it("is one replica's; when that is killed another's within a quarter of a minute or so, and when it stops at once", async () => {
    const directory = temporaryDirectory()
    const database = await freshDatabase(inject("databaseUrl"))
    const replicas: Array<Replica> = []
    const start = async (): Promise<Replica> => {
      const list = await startList()
      const env = { ...serviceSettings(database, inject("redisUrl")), DATA_DIR: directory.path, CATALOG_SYNC_INTERVAL_MS: "1000" }
      const server = await startServer({ ...env, OPENAI_API_KEY: "sk-openai", OPENAI_BASE_URL: list.url })
      const replica = { server, list }
      replicas.push(replica)
      return replica
    }
    /** Who alone reads the list; the others have done nothing since the last time. */
    const worker = async (among: ReadonlyArray<Replica>, withinMs: number): Promise<Replica> => {
      let found: Replica | undefined
      const before = among.map(({ list }) => list.reads())
      await eventually(() => {
        const working = among.filter(({ list }, at) => list.reads() >= (before[at] ?? 0) + 2)
        assert.lengthOf(working, 1)
        found = working[0]
      }, withinMs)
      assert.isDefined(found)
      const idle = among.filter((replica) => replica !== found)
      assert.deepStrictEqual(
        idle.map(({ list }) => list.reads()),
        idle.map((replica) => before[among.indexOf(replica)])
      )
      return found
    }
    try {
      const [first, second] = await Promise.all([start(), start()])
      const one = await worker([first, second], 30_000)
      // Between two reads: what is cut in the middle of one waits until its row is free again.
      await eventually(async () =>
        assert.deepStrictEqual(await runSql(database, "SELECT lease FROM provider_lists WHERE provider = 'openai'"), [{ lease: null }])
      )
      await one.server.stop("SIGKILL")
      const other = one === first ? second : first
      assert.strictEqual(await worker([other], 40_000), other)
      const third = await start()
      await other.server.stop()
      assert.strictEqual(await worker([third], 20_000), third)
      const metrics = await (await fetch(`${third.server.url}/metrics`)).text()
      for (const name of ["allowances", "catalog lists", "old request rows"]) assert.include(metrics, `sluice_singletons{name="${name}"} 1`)
      const alive = await runSql(database, "SELECT address FROM cluster_runners WHERE last_heartbeat > now() - interval '12 seconds'")
      assert.lengthOf(alive, 1)
    } finally {
      await Promise.all(replicas.map(({ server }) => server.stop("SIGKILL")))
      for (const { list } of replicas) list.close()
      directory.remove()
    }
  }, 120_000)
})
