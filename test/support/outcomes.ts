/**
 * Ends of requests without a gateway, for whoever hangs off them.
 */
import { Effect, Layer } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import { zero } from "../../schemas/Money.ts"
import type { Limits } from "../../schemas/Plan.ts"
import { none } from "../../schemas/Usage.ts"
import type { Attempt } from "../../src/providers/AttemptLog.ts"
import { among, type Outcome, Outcomes } from "../../src/usage/Outcomes.ts"
import { candidate, request } from "./scripted.ts"

/** Outcomes that are only told on, nothing written. */
export const outcomes = Layer.effect(Outcomes, among([]))

export const attempt = (provider: string, error: string | null = null, latencyMs = 100): Attempt => ({
  provider,
  model: "org/model",
  status: error === null ? 200 : null,
  error,
  latencyMs
})

const limits: Limits = {
  rpm: "none",
  tokensPerMinute: "none",
  tokensPerDay: "none",
  tokensPerMonth: "none",
  requestsPerDay: "none",
  concurrency: "none",
  burst: "none",
  dailyUsd: "none"
}
export const caller: Caller = {
  accountId: "account",
  keyId: "key",
  role: "dev",
  plan: "dev",
  limits,
  trialEndsAt: null,
  scopes: ["*"],
  maxRequests: null,
  cache: null
}

export const tell = Effect.fnUntraced(function* (attempts: ReadonlyArray<Attempt>, more: Partial<Outcome> = {}) {
  const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  yield* (yield* Outcomes).publish({
    caller,
    request: request(),
    rid: "r",
    clientRequestId: null,
    candidate: candidate("groq"),
    attempts,
    routing: null,
    usage: none,
    cost: zero,
    outcome: "ok",
    status: 200,
    startedAt: now - 1_000,
    endedAt: now,
    timeToFirstChunkMs: null,
    ...more
  })
})
