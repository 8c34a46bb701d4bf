/**
 * The credit ledger: holds in memory, money in Postgres.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import {
  AccountNotFound,
  type Balance,
  DailyCapReached,
  InsufficientCredits,
  type LedgerCheck,
  type LedgerEntry,
  LedgerError,
  LedgerUnavailable
} from "../../schemas/LedgerEntry.ts"
import type { Pricing } from "../../schemas/Model.ts"
import type { Money } from "../../schemas/Money.ts"
import * as MoneyValue from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { messageOf } from "../database/Failures.ts"
import { type Committer, make as makeCommitter } from "./Committer.ts"
import type { CommitterOptions } from "./CommitterOptions.ts"
import * as HeldHints from "./HeldHints.ts"
import type { LedgerStanding } from "./Keeper.ts"
import * as LedgerBook from "./LedgerBook.ts"
import * as LedgerReads from "./LedgerReads.ts"
import { encodePricing } from "./Pricing.ts"

/** What to set aside for one request. @category models @since 0.1.0 */
export interface HoldRequest {
  readonly accountId: AccountId
  /** The server's id of the request: one charge at most, whoever retries. */
  readonly rid: string
  /** The most the request can cost. */
  readonly amount: Money
  /** The least that will do; less than `amount` when the caller gave no bound and the hold may be clamped. */
  readonly minimum: Money
  /** Spending allowed in one UTC day; the day's spending and the holds count against it. */
  readonly dailyUsd: Money | "none"
}

/** Money set aside: between `minimum` and `amount`. Ends once, by settle or release. @category models @since 0.1.0 */
export interface Hold {
  readonly accountId: AccountId
  readonly rid: string
  readonly amount: Money
}

/** How a held request ends in the book. @category models @since 0.1.0 */
export type Settlement =
  | {
      /** The caller owes `cost`, charged as far as the balance goes. */
      readonly _tag: "Charge"
      readonly cost: Money
      readonly model: string
      readonly provider: string
      /** Kept on the entry, so that the charge can be recomputed. */
      readonly pricing: Pricing
      readonly usage: Usage
    }
  | {
      /** The provider's fault: a refund entry with zero deltas names the request. */
      readonly _tag: "Refund"
      readonly model: string
      readonly provider: string | null
      readonly why: string
    }

/** Money coming in, or taken by an operator. The same reference is applied once. @category models @since 0.1.0 */
export interface Grant {
  readonly accountId: AccountId
  readonly kind: "topup" | "allowance" | "adjust" | "expiry"
  readonly allowance: Money
  readonly purchased: Money
  readonly reference: string
}

/** @category services @since 0.1.0 */
export class Ledger extends Context.Service<
  Ledger,
  {
    /** Makes the account's row; does nothing when it stands. */
    readonly open: (accountId: AccountId) => Effect.Effect<void, LedgerError>
    readonly hold: (request: HoldRequest) => Effect.Effect<Hold, LedgerError>
    /** Holds at once what is leased here already; null where `hold` has to ask, or to refuse. */
    readonly tryHold: (request: HoldRequest) => Hold | null
    /** Writes the end of a request, once per rid; done when it is durable. Resolves also when it was secured otherwise (see `ledger_unsecured_total`). */
    readonly settle: (hold: Hold, settlement: Settlement) => Effect.Effect<void>
    /** The same begun at once; what it gives waits until it is durable, null where it is so already. */
    readonly settleNow: (hold: Hold, settlement: Settlement) => Effect.Effect<void> | null
    /** Gives a hold back without an entry: nothing was served and nobody is at fault. */
    readonly release: (hold: Hold) => Effect.Effect<void>
    /** The same, at once. */
    readonly releaseNow: (hold: Hold) => void
    readonly grant: (grant: Grant) => Effect.Effect<LedgerEntry, LedgerError>
    /**
     * Begins a period of an account's allowance: what was left of the last is lost, the full amount is there. Once for each
     * name of a period.
     */
    readonly renew: (accountId: AccountId, full: Money, period: string) => Effect.Effect<void, LedgerError>
    /** Ends what is left of an earlier period's allowance and was on lease when that ended. */
    readonly trim: Effect.Effect<void, LedgerError>
    readonly balance: (accountId: AccountId) => Effect.Effect<Balance, LedgerError>
    /** Newest first; `cursor` is what the page before gave as `next`. */
    readonly entries: (
      accountId: AccountId,
      page: { readonly limit: number; readonly cursor: string | null }
    ) => Effect.Effect<{ readonly data: ReadonlyArray<LedgerEntry>; readonly next: string | null }, LedgerError>
    /** The number of this process in the book, changed when it has to start anew. */
    readonly node: () => string
    /** How this process stands with the database; asks nobody. */
    readonly standing: Effect.Effect<LedgerStanding>
    /** Proves the invariants over the whole database. */
    readonly check: Effect.Effect<LedgerCheck, LedgerError>
  }
>()("sluice/ledger/Ledger") {
  /** The ledger over the database; closing it settles everything, gives its leases back and says that it is gone. */
  static readonly layer = (options: CommitterOptions) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const committer = yield* makeCommitter(yield* LedgerBook.make, options)
        /** A transaction has the connection that the commit would need: whoever waited for it there would wait in vain. */
        const outside = (waiting: Effect.Effect<void>) =>
          Effect.flatMap(Effect.serviceOption(sql.transactionService), (transaction) =>
            Option.isSome(transaction) ? Effect.void : waiting
          )
        const elsewhere = options.isAlone === true ? () => Effect.succeed(0n) : yield* HeldHints.make(committer)
        return Ledger.of({ ...make(yield* LedgerReads.make, committer, outside, elsewhere), ...holds(committer) })
      })
    )
}

const unavailable = (message: string) => new LedgerError({ reason: new LedgerUnavailable({ message }) })

/** Failures of the database, as the ledger's. */
const fromDatabase = (cause: unknown): LedgerError => {
  const text = messageOf(cause)
  if (text.includes("ledger: no account")) return new LedgerError({ reason: new AccountNotFound({ accountId: "" }) })
  if (text.includes("ledger: insufficient")) {
    return new LedgerError({ reason: new InsufficientCredits({ required: MoneyValue.zero, available: MoneyValue.zero }) })
  }
  return unavailable("the database did not answer")
}

/** What happens in memory: holds and how they end. @category models @since 0.1.0 */
export type Holds = Pick<Ledger["Service"], "hold" | "tryHold" | "settle" | "settleNow" | "release" | "releaseNow">

/** @category constructors @since 0.1.0 */
export const holds = (committer: Committer): Holds => {
  const prices = new WeakMap<Pricing, string>()
  /** A price is the same for many requests. */
  const priceOf = (pricing: Pricing): string => {
    const known = prices.get(pricing)
    if (known !== undefined) return known
    const text = JSON.stringify(encodePricing(pricing))
    prices.set(pricing, text)
    return text
  }

  /** What was held counts against the day's cap: the part beyond it is given back, or all where less would not do; null then. */
  const withinCap = (request: HoldRequest, amount: Money): Hold | null => {
    const { accountId, dailyUsd, rid } = request
    const beyond = dailyUsd === "none" || amount === 0n ? 0n : committer.beyondCap(accountId, dailyUsd)
    if (beyond === 0n) return { accountId, rid, amount }
    const rest = MoneyValue.make(amount - beyond)
    committer.release(accountId, rest >= request.minimum ? beyond : amount)
    return rest >= request.minimum ? { accountId, rid, amount: rest } : null
  }

  const tryHold = (request: HoldRequest): Hold | null =>
    committer.tryHold(request.accountId, request.amount) ? withinCap(request, request.amount) : null

  const orCapped = (request: HoldRequest, amount: Money): Effect.Effect<Hold, LedgerError> => {
    const held = withinCap(request, amount)
    if (held !== null) return Effect.succeed(held)
    const cap = request.dailyUsd === "none" ? MoneyValue.zero : request.dailyUsd
    return Effect.fail(new LedgerError({ reason: new DailyCapReached({ cap, required: request.minimum }) }))
  }

  const hold = (request: HoldRequest): Effect.Effect<Hold, LedgerError> =>
    Effect.suspend(() => {
      if (committer.tryHold(request.accountId, request.amount)) return orCapped(request, request.amount)
      return Effect.flatMap(waitForHold(request, request.minimum), (held) => orCapped(request, MoneyValue.make(held)))
    })

  const waitForHold = Effect.fnUntraced(function* (request: HoldRequest, minimum: Money) {
    const answer = yield* committer.wait(request.accountId, request.amount, minimum)
    if (answer._tag === "Held") return answer.amount
    if (answer._tag === "Unavailable") return yield* unavailable("no lease could be had")
    return yield* new LedgerError({
      reason: new InsufficientCredits({ required: request.minimum, available: MoneyValue.make(answer.available) })
    })
  })

  const settleNow = (held: Hold, settlement: Settlement): Effect.Effect<void> | null => {
    const charge = settlement._tag === "Charge"
    const settled = committer.settle({
      account: held.accountId,
      kind: charge ? "charge" : "refund",
      rid: held.rid,
      cost: charge ? settlement.cost : 0n,
      hold: held.amount,
      model: settlement.model,
      provider: settlement.provider,
      price: charge ? priceOf(settlement.pricing) : null,
      usage: JSON.stringify(charge ? settlement.usage : { why: settlement.why })
    })
    return committer.secure(settled)
  }

  return {
    hold,
    tryHold,
    settleNow,
    settle: (held, settlement) => Effect.suspend(() => settleNow(held, settlement) ?? Effect.void),
    release: (held) => Effect.sync(() => committer.release(held.accountId, held.amount)),
    releaseNow: (held) => committer.release(held.accountId, held.amount)
  }
}

/** Reads and grants come after all that has ended: an end that only the journal has is written first. */
const make = (
  reads: Effect.Success<typeof LedgerReads.make>,
  committer: Committer,
  outside: (waiting: Effect.Effect<void>) => Effect.Effect<void>,
  heldElsewhere: (account: AccountId) => Effect.Effect<bigint, unknown>
): Omit<Ledger["Service"], keyof Holds> => {
  const flush = outside(committer.flush)
  const giveBack = (account: AccountId) => outside(committer.giveBack(account))
  const inOrder = <A>(statement: Effect.Effect<A, unknown>): Effect.Effect<A, LedgerError> =>
    Effect.andThen(flush, Effect.mapError(statement, fromDatabase))
  return {
    open: (accountId) => Effect.asVoid(Effect.mapError(reads.open(accountId), fromDatabase)),
    grant: (grant) => {
      const granted = inOrder(reads.grant(grant.accountId, grant.kind, grant.allowance, grant.purchased, grant.reference))
      return grant.allowance < 0n || grant.purchased < 0n ? Effect.andThen(giveBack(grant.accountId), granted) : granted
    },
    renew: (accountId, full, period) => Effect.andThen(giveBack(accountId), Effect.asVoid(inOrder(reads.renew(accountId, full, period)))),
    trim: Effect.asVoid(inOrder(reads.trim)),
    balance: Effect.fnUntraced(function* (accountId) {
      const row = yield* inOrder(reads.balance(accountId))
      if (row === null) return yield* new LedgerError({ reason: new AccountNotFound({ accountId }) })
      const elsewhere = yield* Effect.mapError(heldElsewhere(accountId), fromDatabase)
      const held = MoneyValue.make((committer.leases.find(accountId)?.held ?? 0n) + elsewhere)
      const available = row.allowance + row.purchased - held
      return {
        allowance: MoneyValue.make(row.allowance),
        purchased: MoneyValue.make(row.purchased),
        held,
        available: MoneyValue.make(available > 0n ? available : 0n)
      }
    }),
    entries: Effect.fnUntraced(function* (accountId, page) {
      const before = page.cursor !== null && /^\d{1,18}$/.test(page.cursor) ? page.cursor : null
      const rows = yield* inOrder(reads.entries(accountId, page.limit + 1, before))
      const data = rows.slice(0, page.limit)
      return { data, next: rows.length > page.limit ? (data.at(-1)?.id ?? null) : null }
    }),
    node: () => committer.nodeNumber,
    standing: Effect.sync(() => committer.standing),
    check: inOrder(reads.check)
  }
}
