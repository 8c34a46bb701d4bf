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
  /** The provider itself is asked too: what counts is what is added to its own figures. */
  readonly added?: boolean
  /** No target is set for it: fewer rounds do. */
  readonly isSide?: boolean
  /** The bare proxy cannot do this: nothing to be measured against. */
  readonly alone?: boolean
  /** A second provider takes over while the first is down. */
  readonly outage?: boolean
}

const question = [{ role: "user", content: "Say something that is not too long." }]

/** A chat request. */
export const body = (more: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({ model: "gpt-4o-mini", max_tokens: 50, messages: question, ...more })

const unary = body({})
const streamed = body({ stream: true })

export const scenarios: ReadonlyArray<Scenario> = [
  { name: "unary", what: "whole answers, 64 connections", load: { bodies: [unary], connections: 64 } },
  { name: "streamed", what: "streams of 20 chunks, 64 connections", load: { bodies: [streamed], connections: 64 } },
  { name: "latency", what: "whole answers, one connection", load: { bodies: [unary], connections: 1 }, added: true },
  {
    name: "streams",
    what: "200 streams at once, a chunk every 20 ms",
    load: { bodies: [body({ stream: true, user: "-slow-20" })], connections: 200 },
    added: true
  },
  {
    name: "mixed",
    what: "whole answers and streams, 64 connections",
    load: { bodies: [unary, streamed, unary], connections: 64 },
    isSide: true
  },
  {
    name: "slow",
    what: "streams to callers who read every 5 ms",
    load: { bodies: [streamed], connections: 64, slowReadMs: 5 },
    isSide: true
  },
  {
    name: "leaving",
    what: "streams, every fourth caller leaves early",
    load: { bodies: [body({ stream: true, user: "-slow-1" })], connections: 64, leaveEvery: 4 },
    isSide: true
  },
  {
    name: "tenants",
    what: "whole answers for 500 accounts (100 with --quick)",
    load: { bodies: [unary], connections: 64 },
    gateway: { tenants: 500 },
    isSide: true
  },
  {
    name: "outage",
    what: "whole answers while the first provider is down and a second answers",
    load: { bodies: [unary], connections: 64 },
    isSide: true,
    alone: true,
    outage: true
  },
  {
    name: "cache",
    what: "whole answers out of the response cache",
    load: { bodies: [unary], connections: 64 },
    isSide: true,
    headers: { "x-sluice-cache": "on" }
  }
]
