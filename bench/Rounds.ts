/**
 * Interleaved rounds of one load over several contestants.
 */
import { type Client, type Contestant, cpuMs, memoryMiB } from "./Contestants.ts"
import type { LoadOptions } from "./LoadClient.ts"
import { type Round, summarise } from "./Report.ts"
import type { Scenario } from "./Scenarios.ts"

/** Times are milliseconds. */
export interface Pace {
  readonly rounds: number
  readonly warmupMs: number
  readonly durationMs: number
  /** Before the first round of a contestant, so that its code is compiled: so long, or so many requests. */
  readonly breakInMs: number
  readonly breakInRequests: number
}

/** One load on one contestant. */
export const measure = async (
  client: Client,
  contestant: Contestant,
  scenario: Pick<Scenario, "load" | "headers">,
  pace: Pick<LoadOptions, "warmupMs" | "durationMs" | "mostRequests">
): Promise<Round> => {
  const before = contestant.pid === 0 ? 0 : cpuMs(contestant.pid)
  const figures = await client.load({
    host: contestant.host ?? "127.0.0.1",
    port: contestant.port,
    path: contestant.path ?? "/v1/chat/completions",
    headers: contestant.headers.map((headers) => ({ ...headers, ...scenario.headers })),
    ...scenario.load,
    warmupMs: pace.warmupMs,
    durationMs: pace.durationMs,
    ...(pace.mostRequests === undefined ? {} : { mostRequests: pace.mostRequests })
  })
  const used = contestant.pid === 0 ? Number.NaN : cpuMs(contestant.pid) - before
  const requests = figures.perSecond * ((pace.warmupMs + pace.durationMs) / 1_000)
  return {
    ...figures,
    cpu: (used * 1_000) / requests,
    memoryMiB: contestant.pid === 0 ? Number.NaN : memoryMiB(contestant.pid)
  }
}

/** A contestant with the load on it, and who brings it. */
export interface Turn {
  readonly client: Client
  readonly contestant: Contestant
  readonly load: Pick<Scenario, "load" | "headers">
}

/** Rounds in turn, so that the machine's moods meet everybody alike; figures by turn, in their order. */
export const interleave = async (turns: ReadonlyArray<Turn>, pace: Pace): Promise<ReadonlyArray<ReadonlyArray<Round>>> => {
  const found = turns.map((): Array<Round> => [])
  const breakIn = { warmupMs: 0, durationMs: pace.breakInMs, mostRequests: pace.breakInRequests }
  for (const { client, contestant, load } of turns) await measure(client, contestant, load, breakIn)
  for (let round = 0; round < pace.rounds; round++) {
    for (const [index, { client, contestant, load }] of turns.entries()) found[index]?.push(await measure(client, contestant, load, pace))
  }
  return found
}

/** Requests a second of `changed` over those of `usual`; both are stopped. */
export const ratio = async (usual: Turn, changed: Turn, pace: Pace): Promise<number> => {
  const [before = [], after = []] = await interleave([usual, changed], pace)
  await Promise.all([usual.contestant.stop(), changed.contestant.stop()])
  return summarise(after).perSecond / summarise(before).perSecond
}
