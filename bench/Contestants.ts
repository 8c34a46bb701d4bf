/**
 * Who is measured: the gateway and a bare proxy, each a process of its own before the same provider.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { type Cores, otherCores, pinned, serverCores } from "./Cores.ts"
import type { LoadFigures, LoadOptions } from "./LoadClient.ts"

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(here)

/** As `npm start` has it: what is young is collected before it takes more than the streams that are open. */
const YOUNG = "--max-semi-space-size=16"

export const ADMIN_KEY = "admin-key-of-the-bench"

export interface Part {
  readonly pid: number
  readonly child: ChildProcess
  readonly stop: () => Promise<void>
}

/** Parts that run: none outlives the suite, however that ends. */
const running = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

const launch = (command: ReadonlyArray<string>, env: NodeJS.ProcessEnv, stdin: "pipe" | "ignore"): Part => {
  const [program = "", ...args] = command
  const child = spawn(program, args, { cwd: root, env, stdio: [stdin, "pipe", "inherit"] })
  running.add(child)
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  return {
    child,
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill("SIGTERM")
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000)
      await exited
      clearTimeout(late)
      running.delete(child)
    }
  }
}

const firstLine = (part: Part, pattern: RegExp): Promise<RegExpExecArray> =>
  new Promise((resolve, reject) => {
    let text = ""
    part.child.stdout?.on("data", (bytes: Buffer) => {
      text += bytes.toString()
      const found = pattern.exec(text)
      if (found !== null) resolve(found)
    })
    part.child.once("exit", (code) => reject(new Error(`a part of the load suite ended with ${code}: ${text}`)))
  })

/** Milliseconds of CPU that a process has used, its threads included. */
export const cpuMs = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Resident memory in MiB. */
export const memoryMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024

export interface Client {
  readonly load: (options: LoadOptions) => Promise<LoadFigures>
  readonly stop: () => Promise<void>
}

const script = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [process.execPath, join(here, "child.ts"), ...args]

export const startClient = (cores: Cores = otherCores): Client => {
  const part = launch([...pinned(cores), ...script("client")], process.env, "pipe")
  const lines = part.child.stdout === null ? null : createInterface({ input: part.child.stdout })[Symbol.asyncIterator]()
  return {
    load: async (options) => {
      part.child.stdin?.write(`${JSON.stringify(options)}\n`)
      const line = await lines?.next()
      return JSON.parse(line?.value ?? "null")
    },
    stop: part.stop
  }
}

/** Somebody who answers on a port, and how to speak to him. */
export interface Contestant {
  readonly name: string
  /** The loopback, where none is given. */
  readonly host?: string
  readonly port: number
  /** Of chat completions; the usual one, where none is given. */
  readonly path?: string
  /** Headers of the requests, one for each tenant. */
  readonly headers: ReadonlyArray<Readonly<Record<string, string>>>
  /** 0: a process of somebody else. */
  readonly pid: number
  readonly stop: () => Promise<void>
}

const JSON_BODY = { "content-type": "application/json" }

export interface Provider {
  readonly url: string
  readonly port: number
  readonly stop: () => Promise<void>
}

export const startProvider = async (cores: Cores = otherCores): Promise<Provider> => {
  const part = launch([...pinned(cores), ...script("provider")], process.env, "ignore")
  const port = Number((await firstLine(part, /"port":(\d+)/))[1])
  return { url: `http://127.0.0.1:${port}/v1`, port, stop: part.stop }
}

/** The provider itself: what is above its figures was added. */
export const direct = ({ port }: Provider): Contestant => ({
  name: "direct",
  port,
  headers: [{ ...JSON_BODY, authorization: "Bearer none" }],
  pid: 0,
  stop: async () => {}
})

export const startBare = async (provider: string): Promise<Contestant> => {
  const part = launch([...pinned(serverCores), ...script("bare", provider)], process.env, "ignore")
  const port = Number((await firstLine(part, /"port":(\d+)/))[1])
  return { name: "bare", port, headers: [{ ...JSON_BODY, authorization: "Bearer none" }], pid: part.pid, stop: part.stop }
}

export interface GatewayOptions {
  readonly name?: string
  readonly tenants?: number
  /** The tenants have what a new account is given, and no more. */
  readonly poor?: boolean
  readonly env?: Readonly<Record<string, string>>
  /** Kept when the gateway stops: it may be started on it again. */
  readonly dataDir?: string
  /** Flags for Node, such as `--cpu-prof`. */
  readonly nodeFlags?: ReadonlyArray<string>
  /** Instead of the one that servers have. */
  readonly cores?: Cores
}

const call = async (port: number, method: string, path: string, body: unknown): Promise<Record<string, unknown>> => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { ...JSON_BODY, authorization: `Bearer ${ADMIN_KEY}` },
    body: JSON.stringify(body)
  })
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`)
  return Object(await response.json())
}

const limits = ["rpm", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "requests_per_day", "concurrency", "burst"]
const raised = { ...Object.fromEntries(limits.map((name) => [name, 1_000_000_000])), daily_usd: "none" }

/** A customer with raised limits, and with money where he is not poor; his key. */
const newTenant = async (port: number, index: number, poor: boolean): Promise<string> => {
  const made = await call(port, "POST", "/admin/users", { email: `tenant-${index}@bench.example`, plan: "enterprise" })
  const id = Object(made["user"])["id"]
  await call(port, "PUT", `/admin/users/${id}/limits`, raised)
  if (!poor) await call(port, "POST", `/admin/users/${id}/credits`, { amount_usd: "100000.00", reference: `bench-${index}` })
  return String(made["api_key"])
}

/** So many of them, some at a time; the headers that each sends. */
const newTenants = async (port: number, count: number, poor: boolean): Promise<ReadonlyArray<Readonly<Record<string, string>>>> => {
  const headers: Array<Readonly<Record<string, string>>> = []
  let next = 0
  const register = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      headers[index] = { ...JSON_BODY, authorization: `Bearer ${await newTenant(port, index, poor)}` }
    }
  }
  await Promise.all(Array.from({ length: Math.min(16, count) }, register))
  return headers
}

/** The gateway with authentication, limits, holds and settlement on, in front of a provider. */
export const startGateway = async (provider: string, options: GatewayOptions = {}): Promise<Contestant> => {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "sluice-bench-"))
  const env = {
    PATH: process.env["PATH"] ?? "",
    PORT: "0",
    DATA_DIR: dataDir,
    ADMIN_API_KEY: ADMIN_KEY,
    OPENAI_API_KEY: "sk-load",
    OPENAI_BASE_URL: provider,
    LOG_LEVEL: "Warn",
    CATALOG_SYNC_INTERVAL_MS: "0",
    ...options.env
  }
  const command = [process.execPath, YOUNG, ...(options.nodeFlags ?? []), join(root, "dist", "sluice.js"), "serve"]
  const part = launch([...pinned(options.cores === undefined ? serverCores : options.cores), ...command], env, "ignore")
  const port = Number((await firstLine(part, /listens on http:\/\/[\d.]+:(\d+)/))[1])
  return {
    name: options.name ?? "sluice",
    port,
    headers: await newTenants(port, options.tenants ?? 1, options.poor ?? false),
    pid: part.pid,
    stop: async () => {
      await part.stop()
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    }
  }
}
