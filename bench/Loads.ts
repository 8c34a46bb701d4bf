/**
 * The scenarios, one after another, each on everybody whom it concerns.
 */
import { freePort } from "../test/support/services.ts"
import { type Client, type Contestant, direct, type GatewayOptions, startBare, startGateway, startProvider } from "./Contestants.ts"
import { type Profiler, profileOf } from "./Profile.ts"
import { type Row, summarise, toRow } from "./Report.ts"
import { interleave, measure, type Pace } from "./Rounds.ts"
import type { Scenario } from "./Scenarios.ts"

export interface LoadsOptions {
  readonly pace: Pace
  /** Rounds of scenarios for which no target is set. */
  readonly sideRounds: number
  /** Accounts of a scenario, where it has many. */
  readonly mostTenants: number
  /** Somebody else's gateway. */
  readonly other: Contestant | null
  /** Where profiles of the gateway go. */
  readonly profile: string | null
  readonly say: (text: string) => void
}

const another = (address: string, key: string): Contestant => {
  const url = new URL(`${address.replace(/\/+$/, "")}/chat/completions`)
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}` }
  const stop = async () => {}
  return { name: url.host, host: url.hostname, port: Number(url.port || 80), path: url.pathname, headers: [headers], pid: 0, stop }
}

/** Chat completions of another gateway, by their address. */
export const otherGateway = (address: string | undefined, key = "none"): Contestant | null =>
  address === undefined ? null : another(address, key)

const optionsFor = (scenario: Scenario, second: string, mostTenants: number): GatewayOptions => {
  const env = scenario.outage === true ? { OPENROUTER_API_KEY: "sk-load", OPENROUTER_BASE_URL: second } : {}
  const tenants = Math.min(scenario.gateway?.tenants ?? 1, mostTenants)
  return { ...scenario.gateway, tenants, env: { ...scenario.gateway?.env, ...env } }
}

/** Takes the profiles of one load on one gateway. */
const takeProfile = async (client: Client, gateway: Contestant, scenario: Scenario, profiler: Profiler, options: LoadsOptions) => {
  for (const kind of ["cpu", "allocation"] as const) {
    const taking = await profiler.start(kind)
    await measure(client, gateway, scenario, options.pace)
    options.say(await taking.finish(`${options.profile}/${scenario.name}`))
  }
}

/** Measures them; the rows of a scenario begin with the bare proxy's. */
export const runLoads = async (client: Client, wanted: ReadonlyArray<Scenario>, options: LoadsOptions): Promise<ReadonlyArray<Row>> => {
  if (wanted.length === 0) return []
  const [provider, second] = await Promise.all([startProvider(), startProvider()])
  const inspected = options.profile === null ? null : await freePort()
  const nodeFlags = inspected === null ? [] : [`--inspect=127.0.0.1:${inspected}`]
  const [bare, usual] = await Promise.all([startBare(provider.url), startGateway(provider.url, { nodeFlags })])
  const profiler = inspected === null ? null : await profileOf(inspected)
  const rows: Array<Row> = []
  for (const scenario of wanted) {
    options.say(`${scenario.name}: ${scenario.what} …`)
    const isOwn = scenario.outage === true || scenario.gateway !== undefined
    const gateway = isOwn ? await startGateway(provider.url, optionsFor(scenario, second.url, options.mostTenants)) : usual
    if (scenario.outage === true) await fetch(`http://127.0.0.1:${provider.port}/__down`)
    const beside = [...(scenario.added === true ? [direct(provider)] : []), ...(options.other === null ? [] : [options.other])]
    const contestants = scenario.alone === true ? [gateway] : [bare, gateway, ...beside]
    const rounds = scenario.isSide === true ? options.sideRounds : options.pace.rounds
    const turns = contestants.map((contestant) => ({ client, contestant, load: scenario }))
    const figures = (await interleave(turns, { ...options.pace, rounds })).map(summarise)
    const measured = scenario.alone === true ? null : (figures[0] ?? null)
    for (const [index, { name }] of contestants.entries()) {
      const of = figures[index]
      if (of !== undefined) rows.push(toRow(scenario.name, name, of, measured))
    }
    if (profiler !== null && !isOwn) await takeProfile(client, gateway, scenario, profiler, options)
    if (scenario.outage === true) await fetch(`http://127.0.0.1:${provider.port}/__up`)
    if (isOwn) await gateway.stop()
  }
  profiler?.close()
  await Promise.all([usual.stop(), bare.stop(), provider.stop(), second.stop()])
  return rows
}
