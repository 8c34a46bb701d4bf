/**
 * `npm test`: the whole suite; arguments go on to vitest.
 */
import { spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const vitest = join(root, "node_modules", "vitest", "vitest.mjs")
const given = process.argv.slice(2)
const ownReporter = given.some((argument) => argument.startsWith("--reporter"))
const args = [
  vitest,
  "run",
  "--config",
  ".config/vitest.config.ts",
  ...(ownReporter ? [] : ["--reporter=default"]),
  "--reporter=./test/support/Totals.ts",
  ...given
]

const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit" })
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal))
child.on("exit", (code, signal) => process.exit(code ?? (signal === null ? 0 : 1)))
