/**
 * `npm run bench`: what the gateway costs, measured beside a bare proxy in the same run.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { table } from "../src/cli/Printing.ts"
import { startPostgres } from "../test/support/services.ts"
import { type Client, type Contestant, startBare, startClient, startGateway, startProvider } from "./Contestants.ts"
import { type LedgerFigures, measureLedger } from "./LedgerSpeed.ts"
import { compare, formatRows, type Row, summarise, toRow } from "./Report.ts"
import { interleave, type Pace } from "./Rounds.ts"
import { type Scenario, scenarios } from "./Scenarios.ts"
import { measureWhole, type WholeFigure } from "./Whole.ts"

const names = [
  ...scenarios.map(({ name, what }) => [name, what] as const),
  ["whole", "cold start, memory of idle streams, growth, Postgres and Redis against embedded"] as const,
  ["ledger", "hold and settle in memory; group commits on Postgres against one transaction each"] as const
]

const help = `Usage: npm run bench -- [scenario …] [options]

The built server with authentication, limits (raised), holds and settlement on, beside a bare Node proxy, both in front of the
same provider: one core for the server, one for the client and the provider. Ratios are against the bare proxy of the same run.

Scenarios (all, when none is named)
${names.map(([name, what]) => `  ${name.padEnd(10)}${what}`).join("\n")}

Options
  --quick         fewer and shorter rounds, about a minute
  --json FILE     write the figures there instead of bench/latest.json
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
    compare: { type: "string" },
    against: { type: "string" },
    key: { type: "string" },
    help: { type: "boolean", short: "h" }
  }
})

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const isWanted = (name: string): boolean => positionals.length === 0 || positionals.includes(name)

const pace: Pace =
  values.quick === true
    ? { rounds: 1, warmupMs: 300, durationMs: 1_000, breakInMs: 1_000 }
    : { rounds: 5, warmupMs: 500, durationMs: 2_000, breakInMs: 5_000 }

const otherGateway = (): Contestant | null => {
  if (values.against === undefined) return null
  const url = new URL(`${values.against.replace(/\/+$/, "")}/chat/completions`)
  const headers = { "content-type": "application/json", authorization: `Bearer ${values.key ?? "none"}` }
  const stop = async () => {}
  return { name: url.host, host: url.hostname, port: Number(url.port || 80), path: url.pathname, headers: [headers], pid: 0, stop }
}

const gatewayFor = async (scenario: Scenario, provider: string, second: string): Promise<Contestant> => {
  const env = scenario.outage === true ? { OPENROUTER_API_KEY: "sk-load", OPENROUTER_BASE_URL: second } : {}
  return startGateway(provider, { ...scenario.gateway, env: { ...scenario.gateway?.env, ...env } })
}

const runLoads = async (client: Client): Promise<ReadonlyArray<Row>> => {
  const wanted = scenarios.filter(({ name }) => isWanted(name))
  if (wanted.length === 0) return []
  const [provider, second] = [await startProvider(), await startProvider()]
  const bare = await startBare(provider.url)
  const other = otherGateway()
  const usual = await startGateway(provider.url)
  const rows: Array<Row> = []
  for (const scenario of wanted) {
    say(`${scenario.name}: ${scenario.what} …`)
    const own = scenario.outage === true || scenario.gateway !== undefined ? await gatewayFor(scenario, provider.url, second.url) : null
    if (scenario.outage === true) await fetch(`http://127.0.0.1:${provider.port}/__down`)
    const contestants = [
      ...(scenario.alone === true ? [] : [bare]),
      own ?? usual,
      ...(other === null || scenario.alone === true ? [] : [other])
    ]
    const found = await interleave(client, contestants, scenario, pace)
    const figures = found.map(summarise)
    const measured = scenario.alone === true ? null : (figures[0] ?? null)
    for (const [index, contestant] of contestants.entries()) {
      const of = figures[index]
      if (of !== undefined) rows.push(toRow(scenario.name, contestant.name, of, measured))
    }
    if (scenario.outage === true) await fetch(`http://127.0.0.1:${provider.port}/__up`)
    await own?.stop()
  }
  await Promise.all([usual.stop(), bare.stop(), provider.stop(), second.stop()])
  return rows
}

const runLedger = async () => {
  say("ledger: on a Postgres of its own …")
  const postgres = await startPostgres()
  try {
    const ledger = await Effect.runPromise(
      measureLedger(postgres.url, values.quick === true ? { rounds: 1, ms: 1_000 } : { rounds: 5, ms: 2_000 })
    )
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
    ...whole.map(({ name, unit, value, what }) => [name, `${value.toFixed(unit === "×" ? 2 : 0)} ${unit}`, what])
  ])

const measureWholeServer = async (client: Client): Promise<ReadonlyArray<WholeFigure>> => {
  say("whole: starts and stops …")
  const provider = await startProvider()
  const whole = await measureWhole(provider.url, client, pace, values.quick === true)
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
  const rows = await runLoads(client)
  const whole = isWanted("whole") ? await measureWholeServer(client) : []
  await client.stop()
  const ledger = isWanted("ledger") ? await runLedger() : null
  if (rows.length > 0) say(`\n${formatRows(rows)}`)
  if (whole.length > 0) say(`\n${wholeTable(whole)}`)
  if (ledger !== null) say(`\n${ledgerTable(ledger)}`)
  if (earlier !== null) say(`\nAgainst bare, then and now\n${compare(rows, earlier.rows ?? [])}`)
  const file = values.json ?? "bench/latest.json"
  writeFileSync(file, `${JSON.stringify({ rows, whole, ledger }, null, 2)}\n`)
  say(`\nWritten to ${file}`)
}

await main()
