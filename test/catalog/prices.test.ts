/**
 * The command that holds the shipped prices against a maintained source.
 */
import { spawnSync } from "node:child_process"
import { copyFileSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { temporaryDirectory } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const data = join(root, "src", "catalog", "models.json")

const refresh = (...flags: ReadonlyArray<string>) => {
  const ran = spawnSync(process.execPath, [join(root, ".config", "refresh-prices.ts"), ...flags], { cwd: root, encoding: "utf8" })
  assert.strictEqual(ran.status, 0, ran.stderr)
  return ran.stdout
}

describe("npm run prices", () => {
  it("the shipped prices are those of the installed source; one that is not is shown, and taken over when that is asked for", () => {
    const directory = temporaryDirectory()
    try {
      const copy = join(directory.path, "models.json")
      copyFileSync(data, copy)
      assert.match(refresh(`--file=${copy}`), /Every price is as the source has it\.\n$/)
      const shipped = readFileSync(data, "utf8")
      // Ten times too cheap, at one provider of one model and so of the model itself.
      const wrong = shipped.replaceAll('"prompt":"0.00003","completion":"0.00006"', '"prompt":"0.000003","completion":"0.00006"')
      assert.notStrictEqual(wrong, shipped)
      writeFileSync(copy, wrong)
      const told = refresh(`--file=${copy}`)
      assert.include(
        told,
        'openai/gpt-4 at openai\n  - {"prompt":"0.000003","completion":"0.00006"}\n  + {"prompt":"0.00003","completion":"0.00006"}'
      )
      assert.match(told, /\d+ prices differ\.\n$/)
      assert.strictEqual(readFileSync(copy, "utf8"), wrong, "nothing is written unasked")
      refresh(`--file=${copy}`, "--write")
      assert.strictEqual(readFileSync(copy, "utf8"), shipped)
    } finally {
      directory.remove()
    }
  }, 60_000)
})
