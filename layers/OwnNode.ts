/**
 * Started with a Node that is too old, the program goes on under the one that its package brings. Imported before all else:
 * what follows may not even load there.
 *
 * @since 0.1.0
 */
import { spawn } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

/** The oldest major version that will do. */
const LEAST = 24

/** Says to a process who started it. */
const STARTER = "SLUICE_STARTED_BY"

const brought = (): string | null => {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node")
  } catch {
    return null
  }
}

/** Runs the same command and ends as it ends; whoever signals this process means that one. */
const become = (node: string): Promise<never> =>
  new Promise(() => {
    const child = spawn(node, [...process.execArgv, ...process.argv.slice(1)], {
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      env: { ...process.env, [STARTER]: String(process.pid) }
    })
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal))
    child.once("error", (error) => {
      console.error(`sluice: ${node} cannot be started: ${error.message}`)
      process.exit(1)
    })
    child.once("exit", (code, signal) => {
      if (signal === null) process.exit(code ?? 1)
      process.removeAllListeners(signal)
      process.kill(process.pid, signal)
    })
  })

if (Number.parseInt(process.versions.node, 10) < LEAST) {
  const node = brought()
  if (node === null) {
    console.error(`sluice: Node ${LEAST} or newer is needed, this is ${process.version}. Start it with \`npm start\` or \`npx sluice\`.`)
    process.exit(1)
  }
  await become(node)
}

// Who kills the process that was started means this one, too.
if (process.env[STARTER] === String(process.ppid)) {
  process.once("disconnect", () => process.kill(process.pid, "SIGKILL"))
  process.channel?.unref()
}
delete process.env[STARTER]
