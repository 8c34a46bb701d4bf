/**
 * What is measured of a whole server rather than of its requests: memory of idle streams, the cold start, and what many
 * accounts, a real database or several workers change.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startPostgres, startRedis } from "../test/support/services.ts"
import { type Client, type Contestant, memoryMiB, startGateway } from "./Contestants.ts"
import { summarise } from "./Report.ts"
import { interleave, type Pace } from "./Rounds.ts"
import { scenarios } from "./Scenarios.ts"

export interface WholeFigure {
  readonly name: string
  readonly what: string
  readonly value: number
  readonly unit: string
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Opens so many streams that say one word and then nothing. */
const openIdle = async (contestant: Contestant, count: number): Promise<ReadonlyArray<Socket>> => {
  const body = JSON.stringify({
    model: "gpt-4o-mini",
    max_tokens: 50,
    stream: true,
    user: "idle",
    messages: [{ role: "user", content: "wait" }]
  })
  const head = Object.entries({ host: "127.0.0.1", ...contestant.headers[0], "content-length": Buffer.byteLength(body) })
  const request = `POST /v1/chat/completions HTTP/1.1\r\n${head.map(([name, value]) => `${name}: ${value}`).join("\r\n")}\r\n\r\n${body}`
  const sockets: Array<Socket> = []
  for (let i = 0; i < count; i++) {
    const socket = connect({ host: "127.0.0.1", port: contestant.port })
    sockets.push(socket)
    socket.on("error", () => {})
    socket.write(request)
    if (i % 50 === 49) await new Promise((resolve) => socket.once("data", resolve))
  }
  await wait(1_000)
  return sockets
}

const idleStreams = async (provider: string, count: number): Promise<WholeFigure> => {
  const gateway = await startGateway(provider, { env: { PROVIDER_IDLE_TIMEOUT_MS: "600000", SHUTDOWN_GRACE_MS: "0" } })
  // What the first streams bring with them (pools, compiled code) is not of any one stream.
  for (const socket of await openIdle(gateway, 200)) socket.destroy()
  await wait(1_000)
  const before = memoryMiB(gateway.pid)
  const sockets = await openIdle(gateway, count)
  const value = ((memoryMiB(gateway.pid) - before) * 1_024) / count
  for (const socket of sockets) socket.destroy()
  await gateway.stop()
  return { name: "idle streams", what: `memory of each of ${count} open streams`, value, unit: "KiB" }
}

const coldStart = async (provider: string, rounds: number): Promise<WholeFigure> => {
  const dataDir = mkdtempSync(join(tmpdir(), "sluice-bench-"))
  const first = await startGateway(provider, { dataDir })
  const { headers } = first
  await first.stop()
  const times: Array<number> = []
  for (let i = 0; i < rounds; i++) {
    const startedAt = performance.now()
    const gateway = await startGateway(provider, { dataDir, tenants: 0, core: null })
    const body = JSON.stringify({ model: "gpt-4o-mini", max_tokens: 5, messages: [{ role: "user", content: "hello" }] })
    const answer = await fetch(`http://127.0.0.1:${gateway.port}/v1/chat/completions`, { method: "POST", headers: headers[0] ?? {}, body })
    if (!answer.ok) throw new Error(`the first answer was ${answer.status}`)
    times.push(performance.now() - startedAt)
    await gateway.stop()
  }
  rmSync(dataDir, { recursive: true, force: true })
  const value = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN
  return { name: "cold start", what: "from the start to the first answer, data directory present", value, unit: "ms" }
}

const unary = scenarios.find((scenario) => scenario.name === "unary") ?? { load: { bodies: [], connections: 0 } }

/** Requests a second of `changed` over those of `usual`. */
const ratio = async (client: Client, usual: Contestant, changed: Contestant, pace: Pace): Promise<number> => {
  const [before = [], after = []] = await interleave(client, [usual, changed], unary, pace)
  await usual.stop()
  await changed.stop()
  return summarise(after).perSecond / summarise(before).perSecond
}

const growth = async (provider: string, client: Client, pace: Pace, tenants: number): Promise<WholeFigure> => {
  const usual = await startGateway(provider, { tenants: 10 })
  const many = await startGateway(provider, { tenants })
  const value = await ratio(client, usual, many, pace)
  return { name: "growth", what: `requests a second with ${tenants} accounts over those with 10`, value, unit: "×" }
}

const service = async (provider: string, client: Client, pace: Pace): Promise<WholeFigure> => {
  const [postgres, redis] = [await startPostgres(), await startRedis()]
  try {
    const env = {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      KEY_ENCRYPTION_KEY: `${"A".repeat(43)}=`,
      KEY_HASH_SECRET: "the-hash-secret-of-the-load-suite-0123456789"
    }
    const value = await ratio(client, await startGateway(provider), await startGateway(provider, { env }), pace)
    return { name: "service mode", what: "requests a second on Postgres and Redis over embedded", value, unit: "×" }
  } finally {
    await redis.stop()
    await postgres.stop()
  }
}

/** All of them, one after another. */
export const measureWhole = async (provider: string, client: Client, pace: Pace, quick: boolean): Promise<ReadonlyArray<WholeFigure>> => [
  await coldStart(provider, quick ? 1 : 5),
  await idleStreams(provider, quick ? 500 : 2_000),
  await growth(provider, client, pace, quick ? 200 : 2_000),
  await service(provider, client, pace)
]
