/**
 * Interleaved rounds of one load over several contestants.
 */
import { type Client, type Contestant, cpuMs, memoryMiB } from "./Contestants.ts"
import type { Round } from "./Report.ts"
import type { Scenario } from "./Scenarios.ts"

/** Times are milliseconds. */
export interface Pace {
  readonly rounds: number
  readonly warmupMs: number
  readonly durationMs: number
  /** Before the first round of a contestant, so that its code is compiled. */
  readonly breakInMs: number
}

/** One load on one contestant. */
export const measure = async (
  client: Client,
  contestant: Contestant,
  scenario: Pick<Scenario, "load" | "headers">,
  pace: Pick<Pace, "warmupMs" | "durationMs">
): Promise<Round> => {
  const before = contestant.pid === 0 ? 0 : cpuMs(contestant.pid)
  const figures = await client.load({
    host: contestant.host ?? "127.0.0.1",
    port: contestant.port,
    path: contestant.path ?? "/v1/chat/completions",
    headers: contestant.headers.map((headers) => ({ ...headers, ...scenario.headers })),
    ...scenario.load,
    ...pace
  })
  const used = contestant.pid === 0 ? Number.NaN : cpuMs(contestant.pid) - before
  const requests = figures.perSecond * ((pace.warmupMs + pace.durationMs) / 1_000)
  return {
    ...figures,
    cpu: (used * 1_000) / requests,
    memoryMiB: contestant.pid === 0 ? Number.NaN : memoryMiB(contestant.pid)
  }
}

/** Rounds in turn, so that the machine's moods meet everybody alike; figures by contestant, in their order. */
export const interleave = async (
  client: Client,
  contestants: ReadonlyArray<Contestant>,
  scenario: Pick<Scenario, "load" | "headers">,
  pace: Pace
): Promise<ReadonlyArray<ReadonlyArray<Round>>> => {
  const found = contestants.map((): Array<Round> => [])
  for (const contestant of contestants) await measure(client, contestant, scenario, { warmupMs: 0, durationMs: pace.breakInMs })
  for (let round = 0; round < pace.rounds; round++) {
    for (const [index, contestant] of contestants.entries()) found[index]?.push(await measure(client, contestant, scenario, pace))
  }
  return found
}
