/**
 * What is measured of a whole server rather than of its requests: memory of idle streams, the cold start, and what many
 * accounts, a real database or several workers change.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { type Client, type Contestant, memoryMiB, startClient, startGateway, startProvider } from "./Contestants.ts"
import { type Proportion, proportion, serverCores } from "./Cores.ts"
import { type Pace, ratio, type Turn } from "./Rounds.ts"
import { body } from "./Scenarios.ts"
import { startServiceGateway } from "./ServiceGateway.ts"

export interface WholeFigure {
  readonly name: "cold start" | "new directory" | "idle streams" | "growth" | "service mode" | "workers"
  readonly what: string
  /** Null where this machine cannot tell. */
  readonly value: number | null
  readonly unit: string
}

/** Opens so many streams that say one word and then nothing. */
const openIdle = async (contestant: Contestant, count: number): Promise<ReadonlyArray<Socket>> => {
  const text = body({ stream: true, user: "idle" })
  const head = Object.entries({ host: "127.0.0.1", ...contestant.headers[0], "content-length": Buffer.byteLength(text) })
  const request = `POST /v1/chat/completions HTTP/1.1\r\n${head.map(([name, value]) => `${name}: ${value}`).join("\r\n")}\r\n\r\n${text}`
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

/** Milliseconds until a gateway that is started now has answered. */
const toFirstAnswer = async (
  provider: string,
  dataDir: string,
  known: Readonly<Record<string, string>> | null
): Promise<{ readonly ms: number; readonly headers: Readonly<Record<string, string>> }> => {
  const startedAt = performance.now()
  const gateway = await startGateway(provider, { dataDir, tenants: known === null ? 1 : 0, cores: null })
  const headers = known ?? gateway.headers[0] ?? {}
  const answer = await fetch(`http://127.0.0.1:${gateway.port}/v1/chat/completions`, { method: "POST", headers, body: body({}) })
  if (!answer.ok) throw new Error(`the first answer was ${answer.status}`)
  const ms = performance.now() - startedAt
  await gateway.stop()
  return { ms, headers }
}

const coldStart = async (provider: string, rounds: number): Promise<ReadonlyArray<WholeFigure>> => {
  const dataDir = mkdtempSync(join(tmpdir(), "sluice-bench-"))
  const { headers, ms } = await toFirstAnswer(provider, dataDir, null)
  const times: Array<number> = []
  for (let i = 0; i < rounds; i++) times.push((await toFirstAnswer(provider, dataDir, headers)).ms)
  rmSync(dataDir, { recursive: true, force: true })
  const value = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? null
  return [
    { name: "cold start", what: "from the start to the first answer, data directory present", value, unit: "ms" },
    { name: "new directory", what: "the same with a new data directory, in which an account is made first", value: ms, unit: "ms" }
  ]
}

const unary = { load: { bodies: [body({})], connections: 64 } }

const modelName = (index: number): string => `bench/model-${index}`

/** A configuration file with so many models beside those of the catalog. */
const writeModels = (path: string, count: number): void => {
  const models = Array.from({ length: count }, (_, index) => ({
    id: modelName(index),
    price_per_million: { input: 1, output: 2 },
    providers: [{ provider: "openai", native_id: `model-${index}` }]
  }))
  writeFileSync(path, JSON.stringify({ models }))
}

/** A gateway with so many accounts and models, and requests of all of them for all of those. */
const grown = async (provider: string, directory: string, count: number) => {
  const path = join(directory, `${count}.yaml`)
  writeModels(path, count)
  // What every new account has will do for a few requests each.
  const contestant = await startGateway(provider, { tenants: count, poor: count > 100, env: { SLUICE_CONFIG: path } })
  const bodies = Array.from({ length: count }, (_, index) => body({ model: modelName(index) }))
  return { contestant, load: { load: { bodies, connections: 64 } } }
}

const growth = async (provider: string, client: Client, pace: Pace, count: number): Promise<WholeFigure> => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-bench-"))
  const few = await grown(provider, directory, 10)
  const many = await grown(provider, directory, count)
  // Each of the many asks twice before anything is measured.
  const value = await ratio({ ...few, client }, { ...many, client }, { ...pace, breakInMs: pace.breakInMs * 4 })
  rmSync(directory, { recursive: true, force: true })
  const number = count.toLocaleString("en-US")
  return {
    name: "growth",
    what: `requests a second with ${number} accounts and ${number} models over those with 10 and 10`,
    value,
    unit: "×"
  }
}

const service = async (provider: string, client: Client, pace: Pace): Promise<WholeFigure> => {
  const embedded = await startGateway(provider)
  const contestant = await startServiceGateway(provider, { workers: 1, cores: serverCores, databaseCores: null })
  const value = await ratio({ client, contestant: embedded, load: unary }, { client, contestant, load: unary }, pace)
  return { name: "service mode", what: "requests a second on Postgres and Redis over embedded", value, unit: "×" }
}

/** So many workers, with a client, a provider and databases that have nothing else to do. */
const startWorkers = async (workers: number, places: Proportion["one"]): Promise<Turn> => {
  const [provider, client] = [await startProvider(places.others), startClient(places.others)]
  const options = { workers, cores: places.server, databaseCores: places.others, tenants: 10 }
  const gateway = await startServiceGateway(provider.url, options)
  const stop = async () => {
    await gateway.stop()
    await Promise.all([client.stop(), provider.stop()])
  }
  return { client, contestant: { ...gateway, stop }, load: { load: { ...unary.load, connections: 64 * workers } } }
}

const workers = async (pace: Pace): Promise<WholeFigure> => {
  const places = proportion()
  const what = places?.what ?? "two workers over one: this machine has one core, or no taskset, so nothing can be said"
  const value = places === null ? null : await ratio(await startWorkers(1, places.one), await startWorkers(2, places.two), pace)
  return { name: "workers", what, value, unit: "×" }
}

/** All of them, one after another. */
export const measureWhole = async (provider: string, client: Client, pace: Pace, quick: boolean): Promise<ReadonlyArray<WholeFigure>> => [
  ...(await coldStart(provider, quick ? 1 : 3)),
  await idleStreams(provider, quick ? 500 : 2_000),
  await growth(provider, client, pace, quick ? 100 : 10_000),
  await service(provider, client, pace),
  await workers(pace)
]
