/**
 * A data directory belongs to one process at a time.
 *
 * @since 0.1.0
 */
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, rmSync, writeSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { Data, Effect } from "effect"

/** Another process has the directory. @category errors @since 0.1.0 */
export class DirectoryInUse extends Data.TaggedError("DirectoryInUse")<{ readonly message: string }> {}

const read = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return null
  }
}

/** When a process began, in the kernel's ticks: a number that a later process of the same id does not have. Null where the kernel does not tell. */
const startOf = (pid: number): string | null => read(`/proc/${pid}/stat`)?.split(") ").at(-1)?.split(" ")[19] ?? null

/** This process, told apart from every other of its host. @category accessors @since 0.1.0 */
export const currentProcess = (): string => `${process.pid}:${startOf(process.pid) ?? "?"}`

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
  const now = startOf(pid)
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

/** Holds a directory until the Scope closes. A lock of a process that is gone is taken over. @category constructors @since 0.1.0 */
export const acquire = (directory: string) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const path = join(directory, "lock")
      for (let tries = 0; tries < 3; tries++) {
        const holder = take(path)
        if (holder === null) return Effect.succeed(path)
        if (holder !== "" && !isGone(holder)) {
          const message = `DATA_DIR ${directory} is in use by process ${holder.split(":")[0]}. Stop it, or choose another DATA_DIR.`
          return Effect.fail(new DirectoryInUse({ message }))
        }
        rmSync(path, { force: true })
      }
      return Effect.fail(new DirectoryInUse({ message: `DATA_DIR ${directory} cannot be locked.` }))
    }),
    (path) => Effect.sync(() => rmSync(path, { force: true }))
  )
