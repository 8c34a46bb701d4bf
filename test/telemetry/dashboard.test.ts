/**
 * The shipped dashboard asks only for what the server tells.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly targets?: ReadonlyArray<{ readonly expr: string }>
}

const root = join(import.meta.dirname, "..", "..")

const sources = (directory: string): string =>
  readdirSync(join(root, directory), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
    .join("\n")

describe("the dashboard", () => {
  const { panels }: { readonly panels: ReadonlyArray<Panel> } = JSON.parse(
    readFileSync(join(root, ".config", "grafana-dashboard.json"), "utf8")
  )

  it("has a panel for each of what an operator looks after", () => {
    const rows = panels.filter((panel) => panel.type === "row").map((panel) => panel.title)
    assert.deepStrictEqual(rows, ["Traffic", "Errors", "Latency", "Tokens and cost", "Circuits and limits", "Caches and routers", "Ledger"])
    assert.strictEqual(new Set(panels.map((panel) => panel.id)).size, panels.length)
    for (const panel of panels) if (panel.type !== "row") assert.isAbove(panel.targets?.length ?? 0, 0, panel.title)
  })

  it("asks for no metric that is not there", () => {
    const told = `${sources("src")}${sources("layers")}`
    const asked = new Set(
      panels
        .flatMap((panel) => panel.targets ?? [])
        .flatMap(({ expr }) => [...expr.matchAll(/sluice_[a-z_]+/g)].map(([name]) => name.replace(/_bucket$/, "")))
    )
    assert.isAbove(asked.size, 25)
    for (const name of asked) assert.include(told, `"${name}"`)
  })
})
