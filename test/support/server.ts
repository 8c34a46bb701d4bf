/**
 * The built server as a process of its own, as an operator runs it.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import OpenAI from "openai"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

export const ADMIN_KEY = "admin-key-of-the-tests"

export interface RunningServer {
  readonly url: string
  readonly pid: number
  readonly output: () => string
  /** Ends the process and gives its exit code; null when a signal ended it. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | null>
  /** JSON over HTTP with the admin key. */
  readonly admin: <A = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown
  ) => Promise<{ readonly status: number; readonly body: A }>
}

export interface Customer {
  readonly id: string
  readonly key: string
}

/** A directory that is gone with the tests. */
export const temporaryDirectory = (): { readonly path: string; readonly remove: () => void } => {
  const path = mkdtempSync(join(tmpdir(), "sluice-test-"))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

const exitOf = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode)
    else child.once("exit", (code) => resolve(code))
  })

export const jsonCall = async <A = Record<string, unknown>>(
  url: string,
  key: string | null,
  method: string,
  path: string,
  body?: unknown
): Promise<{ readonly status: number; readonly body: A; readonly headers: Headers }> => {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" })
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const text = await response.text()
  const parsed: A = text === "" ? undefined : JSON.parse(text)
  return { status: response.status, body: parsed, headers: response.headers }
}

/** Resolves when the server says where it is, in a line that has the address after these words. */
export const startServer = async (env: Readonly<Record<string, string>>, said = "listens on "): Promise<RunningServer> => {
  const line = new RegExp(`${said}(http://[\\d.]+:\\d+)`)
  const child = spawn(process.execPath, [join(root, "dist", "sluice.js"), "serve"], {
    cwd: root,
    env: { PATH: process.env["PATH"] ?? "", PORT: "0", ADMIN_API_KEY: ADMIN_KEY, LOG_LEVEL: "Warn", ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  // A server does not outlive the tests, however they end.
  const end = () => child.kill("SIGKILL")
  process.once("exit", end)
  child.once("exit", () => process.off("exit", end))
  let output = ""
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (output = (output + chunk.toString()).slice(-100_000)))
  const url = await new Promise<string>((resolve, reject) => {
    const look = () => {
      const found = line.exec(output)?.[1]
      if (found !== undefined) resolve(found)
    }
    child.stdout?.on("data", look)
    child.once("exit", (code, signal) => reject(new Error(`the server ended with ${code ?? signal}:\n${output}`)))
    setTimeout(() => reject(new Error(`the server did not start:\n${output}`)), 30_000).unref()
  })
  return {
    url,
    pid: child.pid ?? 0,
    output: () => output,
    stop: (signal = "SIGTERM") => {
      child.kill(signal)
      return exitOf(child)
    },
    admin: (method, path, body) => jsonCall(url, ADMIN_KEY, method, path, body)
  }
}

/** Settings of service mode, the secrets made up. */
export const serviceSettings = (databaseUrl: string, redisUrl?: string): Readonly<Record<string, string>> => ({
  DATABASE_URL: databaseUrl,
  ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
  KEY_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString("base64url"),
  KEY_HASH_SECRET: "a-secret-for-hashing-keys-in-tests-only",
  LOG_LEVEL: "Info"
})

let customers = 0

/** A user with no limit on its key, and as much money as said beyond the sign-up credit (which may be taken away). */
export const newCustomer = async (
  server: RunningServer,
  options: { readonly plan?: string; readonly balanceUsd?: string; readonly limits?: Record<string, unknown> } = {}
): Promise<Customer> => {
  const email = `customer-${process.pid}-${customers++}-${Math.random().toString(36).slice(2)}@example.com`
  const made = await server.admin<{ user: { id: string }; api_key: string }>("POST", "/admin/users", {
    email,
    plan: options.plan ?? "enterprise"
  })
  const none = {
    rpm: "none",
    tokens_per_minute: "none",
    tokens_per_day: "none",
    tokens_per_month: "none",
    requests_per_day: "none",
    concurrency: "none",
    burst: "none",
    daily_usd: "none"
  }
  const { id } = made.body.user
  await server.admin("PUT", `/admin/users/${id}/limits`, options.limits ?? none)
  if (options.balanceUsd !== undefined) {
    const difference = (Number(options.balanceUsd) - 5).toFixed(12)
    await server.admin("POST", `/admin/users/${id}/credits`, { amount_usd: difference, reference: "test balance" })
  }
  return { id, key: made.body.api_key }
}

export const openAi = (server: { readonly url: string }, key: string): OpenAI =>
  new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key, maxRetries: 0 })

export interface EntryRow {
  readonly kind: string
  readonly request_id: string | null
  readonly amount_usd: string
  readonly provider: string | null
}

export const entriesOf = async (server: { readonly url: string }, key: string): Promise<ReadonlyArray<EntryRow>> =>
  (await jsonCall<{ data: ReadonlyArray<EntryRow> }>(server.url, key, "GET", "/v1/credits/entries?limit=1000")).body.data

export interface CreditsRow {
  readonly allowance_usd: string
  readonly available_usd: string
  readonly held_usd: string
  readonly purchased_usd: string
}

export const creditsOf = async (server: { readonly url: string }, key: string): Promise<CreditsRow> =>
  (await jsonCall<CreditsRow>(server.url, key, "GET", "/v1/credits")).body

/** Waits until something holds, looking again and again; fails with the last error when it never does. */
export const eventually = async (check: () => Promise<void> | void, withinMs = 5_000): Promise<void> => {
  const deadline = Date.now() + withinMs
  for (;;) {
    try {
      await check()
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
}
