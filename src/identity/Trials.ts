/**
 * What is left of trials: counted here at once, written to the database in groups.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { messageOf } from "../database/Failures.ts"

/** A trial has no more of something. @category errors @since 0.1.0 */
export class TrialUsedUp extends Schema.TaggedError<TrialUsedUp>()("TrialUsedUp", {
  what: Schema.Literals(["tokens", "requests"])
}) {}

/** @category services @since 0.1.0 */
export class Trials extends Context.Service<
  Trials,
  {
    /** Counts a request of an account on trial, or refuses it. A database that does not answer refuses nobody. */
    readonly admit: (id: AccountId) => Effect.Effect<void, TrialUsedUp>
    readonly used: (id: AccountId, tokens: number) => void
    /** Writes what was counted. */
    readonly flush: Effect.Effect<void>
  }
>()("sluice/identity/Trials") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

interface Left {
  tokens: number
  requests: number
  /** Counted here and not written yet. */
  newTokens: number
  newRequests: number
}

const Rows = Schema.Array(Schema.Struct({ id: Schema.String, tokens: Schema.NumberFromString, requests: Schema.NumberFromString }))
const decodeRows = Schema.decodeUnknownEffect(Rows)
/** Accounts remembered; those with nothing unwritten are forgotten beyond it. */
const REMEMBERED = 10_000
const PAUSE = 500

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const accounts = new Map<AccountId, Left>()
  const wake = Latch.makeUnsafe(false)

  const load = Effect.fnUntraced(function* (id: AccountId) {
    const rows = yield* sql`SELECT id, trial_tokens_left::text AS tokens, trial_requests_left::text AS requests FROM users WHERE id = ${id}`
    const [row] = yield* decodeRows(rows)
    const known = accounts.get(id)
    if (known !== undefined) return known
    const left = { tokens: row?.tokens ?? 0, requests: row?.requests ?? 0, newTokens: 0, newRequests: 0 }
    if (accounts.size >= REMEMBERED) {
      for (const [other, state] of accounts) if (state.newTokens === 0 && state.newRequests === 0) accounts.delete(other)
    }
    accounts.set(id, left)
    return left
  })

  const admit = (id: AccountId): Effect.Effect<void, TrialUsedUp> =>
    Effect.suspend(() => {
      const known = accounts.get(id)
      if (known !== undefined) return count(known)
      const unknown = (error: unknown) =>
        Effect.as(Effect.logWarning(`A trial could not be looked up: ${messageOf(error).slice(0, 300)}`), null)
      return Effect.flatMap(Effect.catch(load(id), unknown), (left) => (left === null ? Effect.void : count(left)))
    })

  const count = (left: Left): Effect.Effect<void, TrialUsedUp> => {
    if (left.requests <= 0) return Effect.fail(new TrialUsedUp({ what: "requests" }))
    if (left.tokens <= 0) return Effect.fail(new TrialUsedUp({ what: "tokens" }))
    left.requests--
    left.newRequests++
    wake.openUnsafe()
    return Effect.void
  }

  const used = (id: AccountId, tokens: number): void => {
    const left = accounts.get(id)
    if (left === undefined || tokens === 0) return
    left.tokens -= tokens
    left.newTokens += tokens
    wake.openUnsafe()
  }

  const write = Effect.fnUntraced(function* (changes: ReadonlyArray<{ readonly id: string; readonly t: number; readonly r: number }>) {
    const rows =
      yield* sql`UPDATE users u SET trial_tokens_left = greatest(0, trial_tokens_left - c.t), trial_requests_left = greatest(0, trial_requests_left - c.r)
      FROM jsonb_to_recordset(${JSON.stringify(changes)}::text::jsonb) AS c (id text, t bigint, r bigint)
      WHERE u.id = c.id RETURNING u.id, trial_tokens_left::text AS tokens, trial_requests_left::text AS requests`
    // Other processes count too: the database knows the sum.
    for (const row of yield* decodeRows(rows)) {
      const left = accounts.get(row.id)
      if (left === undefined) continue
      left.tokens = row.tokens - left.newTokens
      left.requests = row.requests - left.newRequests
    }
  })

  const flush = Effect.suspend(() => {
    const changes: Array<{ id: string; t: number; r: number }> = []
    for (const [id, left] of accounts) {
      if (left.newTokens === 0 && left.newRequests === 0) continue
      changes.push({ id, t: left.newTokens, r: left.newRequests })
      left.newTokens = 0
      left.newRequests = 0
    }
    if (changes.length === 0) return Effect.void
    return Effect.catch(write(changes), (error) => {
      for (const { id, r, t } of changes) {
        const left = accounts.get(id)
        if (left === undefined) continue
        left.newTokens += t
        left.newRequests += r
      }
      return Effect.logWarning(`Trials could not be written: ${messageOf(error).slice(0, 300)}`)
    })
  })

  yield* Effect.addFinalizer(() => flush)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* wake.await
        wake.closeUnsafe()
        yield* flush
        yield* Effect.sleep(PAUSE)
      })
    )
  )
  return Trials.of({ admit, used, flush })
})
