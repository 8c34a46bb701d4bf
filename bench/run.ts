/**
 * `npm run bench`: what the gateway costs, measured.
 */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { startPostgres } from "../test/support/services.ts"
import { measureLedger } from "./ledger.ts"

const help = `Usage: npm run bench -- [scenario …] [--quick] [--json FILE]

Scenarios
  ledger   hold plus settle in memory; group commits on a real Postgres, with the ratio to one transaction a settlement

Options
  --quick      shorter and fewer rounds
  --json FILE  also write the figures there
  --help       this text
`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean" }, json: { type: "string" }, help: { type: "boolean", short: "h" } }
})

const main = async (): Promise<void> => {
  if (values.help === true) return void process.stdout.write(help)
  const unknown = positionals.find((name) => name !== "ledger")
  if (unknown !== undefined) {
    process.stderr.write(`There is no scenario ${unknown}.\n\n${help}`)
    process.exitCode = 2
    return
  }
  process.stdout.write("Starting Postgres …\n")
  const postgres = await startPostgres()
  try {
    process.stdout.write("Measuring the ledger …\n")
    const options = values.quick === true ? { rounds: 1, ms: 1_000 } : { rounds: 5, ms: 3_000 }
    const ledger = await Effect.runPromise(measureLedger(postgres.url, options))
    const ratios = {
      one_account: ledger.group_commit_one_account / ledger.transaction_each_one_account,
      "1000_accounts": ledger.group_commit_1000_accounts / ledger.transaction_each_1000_accounts
    }
    const row = (what: string, each: number, ratio?: number) =>
      process.stdout.write(
        `${what.padEnd(48)}${each.toLocaleString("en-US").padStart(12)}/s${ratio === undefined ? "" : `   ${ratio.toFixed(1)} ×`}\n`
      )
    row("hold and settle, in memory, one account", ledger.in_memory_hold_and_settle)
    row("settled on Postgres, one account", ledger.group_commit_one_account, ratios.one_account)
    row("  one transaction a settlement", ledger.transaction_each_one_account)
    row("settled on Postgres, 1,000 accounts", ledger.group_commit_1000_accounts, ratios["1000_accounts"])
    row("  one transaction a settlement", ledger.transaction_each_1000_accounts)
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ ledger: { ...ledger, ratios } }, null, 2)}\n`)
  } finally {
    await postgres.stop()
  }
}

await main()
