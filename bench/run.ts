/**
 * `npm run bench`: what the gateway costs, measured beside a bare proxy in the same run.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { table } from "../src/cli/Printing.ts"
import { startPostgres } from "../test/support/services.ts"
import { type Client, startClient, startProvider } from "./Contestants.ts"
import { type LedgerFigures, measureLedger } from "./LedgerSpeed.ts"
import { otherGateway, runLoads } from "./Loads.ts"
import { compare, formatRows } from "./Report.ts"
import type { Pace } from "./Rounds.ts"
import { scenarios } from "./Scenarios.ts"
import { additions, formatAdditions, formatVerdicts, judge } from "./Targets.ts"
import { measureWhole, type WholeFigure } from "./Whole.ts"

const names = [
  ...scenarios.map(({ name, what }) => [name, what] as const),
  ["whole", "cold start, memory of idle streams, growth, Postgres and Redis against embedded, two workers"] as const,
  ["ledger", "hold and settle in memory; group commits on Postgres against one transaction each"] as const
]

const help = `Usage: npm run bench -- [scenario …] [options]

The built server with authentication, limits (raised), holds and settlement on, beside a bare Node proxy, both in front of the
same provider: one core for the server, one for the client and the provider. Ratios are against the bare proxy of the same run.
Ends with the targets, what was measured of each, and whether it holds. bench/README.md says more.

Scenarios (all, when none is named)
${names.map(([name, what]) => `  ${name.padEnd(10)}${what}`).join("\n")}

Options
  --quick         fewer and shorter rounds, about a minute
  --json FILE     write the figures there instead of bench/latest.json
  --profile DIR   after each scenario another round with a profile of the CPU and one of allocations, written there
  --compare FILE  show what changed since an earlier --json
  --against URL   put another gateway's chat completions under the same load, such as http://127.0.0.1:4000/v1
  --key KEY       the key to send there, as a bearer token
  --help          this text
`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean" },
    json: { type: "string" },
    profile: { type: "string" },
    compare: { type: "string" },
    against: { type: "string" },
    key: { type: "string" },
    help: { type: "boolean", short: "h" }
  }
})

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const isWanted = (name: string): boolean => positionals.length === 0 || positionals.includes(name)

const isQuick = values.quick === true

const pace: Pace = isQuick
  ? { rounds: 1, warmupMs: 200, durationMs: 600, breakInMs: 600, breakInRequests: 20_000 }
  : { rounds: 5, warmupMs: 300, durationMs: 1_700, breakInMs: 6_000, breakInRequests: 20_000 }

const ledgerPace = isQuick ? { rounds: 1, ms: 600 } : { rounds: 3, ms: 2_000 }

const runLedger = async () => {
  say("ledger: on a Postgres of its own …")
  const postgres = await startPostgres()
  try {
    const ledger = await Effect.runPromise(measureLedger(postgres.url, ledgerPace))
    const ratios = {
      one_account: ledger.group_commit_one_account / ledger.transaction_each_one_account,
      "1000_accounts": ledger.group_commit_1000_accounts / ledger.transaction_each_1000_accounts
    }
    return { ...ledger, ratios }
  } finally {
    await postgres.stop()
  }
}

const ledgerTable = (ledger: LedgerFigures & { readonly ratios: Readonly<Record<string, number>> }): string => {
  const row = (what: string, each: number, ratio?: number) => [
    what,
    `${each.toLocaleString("en-US")}/s`,
    ratio === undefined ? "" : `${ratio.toFixed(1)} ×`
  ]
  return table([
    ["ledger", "", ""],
    row("hold and settle, in memory, one account", ledger.in_memory_hold_and_settle),
    row("settled on Postgres, one account", ledger.group_commit_one_account, ledger.ratios["one_account"]),
    row("  one transaction a settlement", ledger.transaction_each_one_account),
    row("settled on Postgres, 1,000 accounts", ledger.group_commit_1000_accounts, ledger.ratios["1000_accounts"]),
    row("  one transaction a settlement", ledger.transaction_each_1000_accounts)
  ])
}

const wholeTable = (whole: ReadonlyArray<WholeFigure>): string =>
  table([
    ["whole server", "", ""],
    ...whole.map(({ name, unit, value, what }) => [
      name,
      value === null ? "not measured" : `${value.toFixed(unit === "×" ? 2 : 0)} ${unit}`,
      what
    ])
  ])

const measureWholeServer = async (client: Client): Promise<ReadonlyArray<WholeFigure>> => {
  say("whole: starts and stops …")
  const provider = await startProvider()
  const whole = await measureWhole(provider.url, client, pace, isQuick)
  await provider.stop()
  return whole
}

const main = async (): Promise<void> => {
  if (values.help === true) return void process.stdout.write(help)
  const unknown = positionals.find((name) => !names.some(([known]) => known === name))
  if (unknown !== undefined) {
    process.stderr.write(`There is no scenario ${unknown}.\n\n${help}`)
    process.exitCode = 2
    return
  }
  const built = spawnSync(process.execPath, [".config/build.ts", "--if-stale"], { stdio: "inherit" })
  if (built.status !== 0) throw new Error("The server could not be built.")
  const earlier = values.compare === undefined ? null : JSON.parse(readFileSync(values.compare, "utf8"))
  const client = startClient()
  const profile = values.profile ?? null
  if (profile !== null) mkdirSync(profile, { recursive: true })
  const rows = await runLoads(
    client,
    scenarios.filter(({ name }) => isWanted(name)),
    { pace, sideRounds: isQuick ? 1 : 2, mostTenants: isQuick ? 100 : 500, other: otherGateway(values.against, values.key), profile, say }
  )
  const whole = isWanted("whole") ? await measureWholeServer(client) : []
  await client.stop()
  const ledger = isWanted("ledger") ? await runLedger() : null
  const [added, verdicts] = [additions(rows), judge(rows, whole)]
  if (rows.length > 0) say(`\n${formatRows(rows)}`)
  if (added.length > 0) say(`\n${formatAdditions(added)}`)
  if (whole.length > 0) say(`\n${wholeTable(whole)}`)
  if (ledger !== null) say(`\n${ledgerTable(ledger)}`)
  if (earlier !== null) say(`\nAgainst bare, then and now\n${compare(rows, earlier.rows ?? [])}`)
  if (verdicts.length > 0) say(`\n${formatVerdicts(verdicts)}`)
  const run = { at: new Date().toISOString(), quick: isQuick, node: process.version, cores: availableParallelism() }
  const file = values.json ?? "bench/latest.json"
  writeFileSync(file, `${JSON.stringify({ run, rows, added, whole, ledger, targets: verdicts }, null, 2)}\n`)
  say(`\nWritten to ${file}`)
}

await main()
