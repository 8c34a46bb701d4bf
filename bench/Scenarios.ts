/**
 * What the load suite measures.
 */
import type { GatewayOptions } from "./Contestants.ts"
import type { LoadOptions } from "./LoadClient.ts"

type Load = Pick<LoadOptions, "bodies" | "connections"> & Partial<Pick<LoadOptions, "slowReadMs" | "leaveEvery">>

export interface Scenario {
  readonly name: string
  readonly what: string
  readonly load: Load
  /** What the gateway is started with besides the usual. */
  readonly gateway?: GatewayOptions
  /** Sent along with every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** The bare proxy cannot do this: nothing to be measured against. */
  readonly alone?: boolean
  /** A second provider takes over while the first is down. */
  readonly outage?: boolean
}

const question = [{ role: "user", content: "Say something that is not too long." }]

const body = (more: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({ model: "gpt-4o-mini", max_tokens: 50, messages: question, ...more })

const unary = body({})
const streamed = body({ stream: true })

export const scenarios: ReadonlyArray<Scenario> = [
  { name: "unary", what: "whole answers, 64 connections", load: { bodies: [unary], connections: 64 } },
  { name: "streamed", what: "streams of 20 chunks, 64 connections", load: { bodies: [streamed], connections: 64 } },
  { name: "latency", what: "whole answers, one connection", load: { bodies: [unary], connections: 1 } },
  {
    name: "streams",
    what: "200 streams at once, a chunk every 5 ms",
    load: { bodies: [body({ stream: true, user: "-slow-5" })], connections: 200 }
  },
  { name: "mixed", what: "whole answers and streams, 64 connections", load: { bodies: [unary, streamed, unary], connections: 64 } },
  { name: "slow", what: "streams to callers who read every 5 ms", load: { bodies: [streamed], connections: 64, slowReadMs: 5 } },
  {
    name: "leaving",
    what: "streams, every fourth caller leaves early",
    load: { bodies: [body({ stream: true, user: "-slow-1" })], connections: 64, leaveEvery: 4 }
  },
  { name: "tenants", what: "whole answers for 500 accounts", load: { bodies: [unary], connections: 64 }, gateway: { tenants: 500 } },
  {
    name: "outage",
    what: "whole answers while the first provider is down and a second answers",
    load: { bodies: [unary], connections: 64 },
    alone: true,
    outage: true
  },
  {
    name: "cache",
    what: "whole answers out of the response cache",
    load: { bodies: [unary], connections: 64 },
    headers: { "x-sluice-cache": "on" }
  }
]
