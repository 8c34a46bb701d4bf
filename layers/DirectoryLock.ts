/**
 * A data directory belongs to one process at a time.
 *
 * @since 0.1.0
 */
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, rmSync, writeSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { Data, Effect, Schedule } from "effect"

/** Another process has the directory. @category errors @since 0.1.0 */
export class DirectoryInUse extends Data.TaggedError("DirectoryInUse")<{ readonly message: string }> {}

const read = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return null
  }
}

/** What the kernel tells of a process, from its state on. Null where it does not tell. */
const statOf = (pid: number): ReadonlyArray<string> | null => read(`/proc/${pid}/stat`)?.split(") ").at(-1)?.split(" ") ?? null

/** When a process began, in the kernel's ticks: a number that a later process of the same id does not have. */
const startOf = (stat: ReadonlyArray<string> | null): string | null => stat?.[19] ?? null

/** It has ended, and whoever started it has not asked how yet, and may never. */
const hasEnded = (stat: ReadonlyArray<string> | null): boolean => stat?.[0] === "Z" || stat?.[0] === "X"

/** This process, told apart from every other of its host. @category accessors @since 0.1.0 */
export const currentProcess = (): string => `${process.pid}:${startOf(statOf(process.pid)) ?? "?"}`

/** The host as processes can look into each other: one kernel's processes of one namespace. @category accessors @since 0.1.0 */
export const currentHost = (): string => {
  let namespace = ""
  try {
    namespace = readlinkSync("/proc/self/ns/pid")
  } catch {
    // No such thing outside Linux.
  }
  return `${hostname()}/${read("/etc/machine-id")?.trim() ?? ""}/${namespace}`
}

/** Whether a process of this host is surely gone. @category accessors @since 0.1.0 */
export const isGone = (name: string): boolean => {
  const [pidText = "", started = "?"] = name.split(":")
  const pid = Number(pidText)
  if (!Number.isInteger(pid) || pid <= 0) return false
  const stat = statOf(pid)
  if (hasEnded(stat)) return true
  const now = startOf(stat)
  if (now !== null) return started !== "?" && now !== started
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH"
  }
}

const take = (path: string): string | null => {
  try {
    const file = openSync(path, "wx", 0o600)
    writeSync(file, currentProcess())
    closeSync(file)
    return null
  } catch {
    return read(path) ?? ""
  }
}

/** How long who is being ended may take to be gone, and how often that is looked for. */
const PATIENCE = { times: 30, everyMs: 100 }

/** Takes the lock, also from a process that is gone. Fails with the id of the process that has it. */
const tryLock = (path: string): Effect.Effect<void, string> =>
  Effect.suspend(() => {
    for (let tries = 0; tries < 3; tries++) {
      const holder = take(path)
      if (holder === null) return Effect.void
      if (holder !== "" && !isGone(holder)) return Effect.fail(holder.split(":")[0] ?? "")
      rmSync(path, { force: true })
    }
    return Effect.fail("")
  })

/**
 * Holds a directory until the Scope closes. A lock of a process that is gone is taken over; one that is on its way out is waited
 * for a little.
 *
 * @category constructors
 * @since 0.1.0
 */
export const acquire = (directory: string) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const path = join(directory, "lock")
      return tryLock(path).pipe(
        Effect.retry({ times: PATIENCE.times, schedule: Schedule.spaced(PATIENCE.everyMs) }),
        Effect.mapError(
          (holder) =>
            new DirectoryInUse({
              message:
                holder === ""
                  ? `DATA_DIR ${directory} cannot be locked.`
                  : `DATA_DIR ${directory} is in use by process ${holder}. Stop it, or choose another DATA_DIR.`
            })
        ),
        Effect.as(path)
      )
    }),
    (path) => Effect.sync(() => rmSync(path, { force: true }))
  )
