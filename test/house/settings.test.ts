/**
 * Whoever adds a setting says what it means, and the file's schema is made anew.
 */
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ConfigSchema from "../../layers/ConfigSchema.ts"
import * as Settings from "../../layers/Settings.ts"
import { settingWords } from "../../layers/SettingWords.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

describe("one description of all settings", () => {
  it.effect("every setting that is read is told what it means, and nothing else is", () =>
    Effect.map(Settings.facts, (facts) =>
      assert.deepStrictEqual(
        facts.map(({ name }) => name).sort(),
        Object.keys(settingWords).sort(),
        "a line of layers/SettingWords.ts for each"
      )
    )
  )

  it.effect("the committed schema is what the code makes; `sluice config schema` writes it", () =>
    Effect.map(ConfigSchema.make, (schema) => {
      const kept = JSON.parse(readFileSync(join(root, "layers", "sluice.schema.json"), "utf8"))
      assert.deepStrictEqual(
        JSON.parse(JSON.stringify(schema)),
        kept,
        "npm run build && npx node dist/sluice.js config schema > layers/sluice.schema.json"
      )
      assert.deepInclude(kept.properties.port, { default: 8_080 })
      assert.isDefined(kept.properties.providers.additionalProperties)
      assert.strictEqual(kept.additionalProperties, false)
    })
  )
})
