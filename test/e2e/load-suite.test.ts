/**
 * The load suite: that it runs and writes what it says, and that its verdicts follow from its figures. No figure is judged here.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { type Round, type Row, summarise, toRow } from "../../bench/Report.ts"
import { additions, judge } from "../../bench/Targets.ts"
import { temporaryDirectory } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const bench = (...args: ReadonlyArray<string>) =>
  spawnSync(process.execPath, ["bench/run.ts", ...args], { cwd: root, encoding: "utf8", timeout: 100_000 })

interface Written {
  readonly rows: ReadonlyArray<Row>
  readonly targets: ReadonlyArray<{ readonly measured: number; readonly holds: boolean }>
}

describe("npm run bench", () => {
  it("runs the quick scenario of whole answers, prints it and writes it as JSON", () => {
    const directory = temporaryDirectory()
    const file = join(directory.path, "figures.json")
    const { status, stderr, stdout } = bench("unary", "--quick", "--json", file)
    assert.strictEqual(status, 0, stderr)
    const written: Written = JSON.parse(readFileSync(file, "utf8"))
    directory.remove()
    assert.deepStrictEqual(
      written.rows.map(({ contestant, scenario }) => [scenario, contestant]),
      [
        ["unary", "bare"],
        ["unary", "sluice"]
      ]
    )
    for (const { figures } of written.rows) {
      assert.deepStrictEqual(figures.failures, {})
      assert.isAbove(figures.perSecond, 0)
      assert.isAtLeast(figures.p99, figures.p50)
    }
    assert.strictEqual(written.targets.length, 1)
    const ratio = written.rows[1]?.ratios?.perSecond
    assert.strictEqual(written.targets[0]?.measured, ratio)
    assert.include(stdout, `${ratio?.toFixed(2)} × bare`)
  }, 120_000)

  it("names its scenarios, and refuses one that it does not know with 2", () => {
    assert.match(bench("--help").stdout, /unary +whole answers[\s\S]*workers[\s\S]*--profile/)
    const unknown = bench("speed")
    assert.strictEqual(unknown.status, 2)
    assert.match(unknown.stderr, /There is no scenario speed/)
  })
})

describe("verdicts of the load suite", () => {
  const round = (given: Partial<Round>): Round => ({
    perSecond: 1_000,
    p50: 1,
    p99: 2,
    first_p50: 1,
    first_p99: 2,
    cpu: 100,
    memoryMiB: 100,
    failures: {},
    ...given
  })
  const rowsOf = (scenario: string, rounds: Readonly<Record<string, Partial<Round>>>): ReadonlyArray<Row> => {
    const figures = Object.entries(rounds).map(([name, given]) => [name, summarise([round(given)])] as const)
    return figures.map(([name, of]) => toRow(scenario, name, of, figures[0]?.[1] ?? null))
  }
  const holdsOf = (rows: ReadonlyArray<Row>) => judge(rows, []).map(({ holds }) => holds)

  it("throughput is held against the bare proxy's of the same run", () => {
    const rows = (perSecond: number) => rowsOf("unary", { bare: {}, sluice: { perSecond } })
    assert.deepStrictEqual([...holdsOf(rows(750)), ...holdsOf(rows(749))], [true, false])
  })

  it("what is added counts above the provider's own time, and is not known where bare adds nothing", () => {
    const rows = rowsOf("latency", { bare: { p50: 1.5 }, sluice: { p50: 2 }, direct: { p50: 1 } })
    assert.deepStrictEqual(
      judge(rows, []).map(({ holds, measured }) => [holds, measured]),
      [[true, 2]]
    )
    assert.deepStrictEqual(additions(rows)[0]?.note, "1.000 ms added, by bare 0.500 ms")
    assert.deepStrictEqual(holdsOf(rowsOf("latency", { bare: { p50: 1.5 }, sluice: { p50: 2.1 }, direct: { p50: 1 } })), [false])
    assert.deepStrictEqual(holdsOf(rowsOf("latency", { bare: { p50: 1 }, sluice: { p50: 2 }, direct: { p50: 1 } })), [null])
  })

  it("figures of the whole server have their bounds; what was not measured has no verdict", () => {
    const verdicts = judge(
      [],
      [
        { name: "idle streams", what: "", value: 40, unit: "KiB" },
        { name: "workers", what: "", value: null, unit: "×" },
        { name: "cold start", what: "", value: 1_501, unit: "ms" }
      ]
    )
    assert.deepStrictEqual(
      verdicts.map(({ holds }) => holds),
      [true, null, false]
    )
  })
})
