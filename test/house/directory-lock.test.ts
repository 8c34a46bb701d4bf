/**
 * Whose a data directory is: a process that was killed has none, even while nobody has asked how it ended.
 */
import { spawn } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as DirectoryLock from "../../layers/DirectoryLock.ts"
import { eventually, temporaryDirectory } from "../support/server.ts"

/** The fields of a process from its state on; its start is the twentieth. */
const statOf = (pid: number): ReadonlyArray<string> => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? []

/** A process whose parent never asks how it ended. */
const startUnasked = async (): Promise<{ readonly pid: number; readonly name: string; readonly end: () => void }> => {
  const parent = spawn("sh", ["-c", "sleep 60 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] })
  const pid = await new Promise<number>((resolve) => parent.stdout.once("data", (text: Buffer) => resolve(Number(text.toString()))))
  return {
    pid,
    name: `${pid}:${statOf(pid)[19]}`,
    end: () => {
      parent.kill("SIGKILL")
    }
  }
}

describe("the lock of a data directory", () => {
  it("is not that of a process that was killed and never asked for", async () => {
    const directory = temporaryDirectory()
    const holder = await startUnasked()
    try {
      const lock = join(directory.path, "lock")
      writeFileSync(lock, holder.name)
      assert.isFalse(DirectoryLock.isGone(holder.name))
      process.kill(holder.pid, "SIGKILL")
      await eventually(() => assert.strictEqual(statOf(holder.pid)[0], "Z"))
      assert.isTrue(DirectoryLock.isGone(holder.name))
      const held = Effect.map(DirectoryLock.acquire(directory.path), () => readFileSync(lock, "utf8"))
      assert.strictEqual(await Effect.runPromise(Effect.scoped(held)), DirectoryLock.currentProcess())
    } finally {
      holder.end()
      directory.remove()
    }
  })

  it("is waited for while its process is on its way out, and refused while that runs", async () => {
    const directory = temporaryDirectory()
    const holder = await startUnasked()
    try {
      writeFileSync(join(directory.path, "lock"), holder.name)
      const acquired = Effect.scoped(DirectoryLock.acquire(directory.path))
      const refused = await Effect.runPromise(Effect.flip(acquired))
      assert.include(refused.message, `in use by process ${holder.pid}`)
      setTimeout(() => process.kill(holder.pid, "SIGKILL"), 300)
      await Effect.runPromise(acquired)
    } finally {
      holder.end()
      directory.remove()
    }
  })
})
