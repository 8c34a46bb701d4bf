/**
 * The commands that look into the book: an account's story, and the proof of the whole.
 *
 * @since 0.1.0
 */
import { Console, Data, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { User } from "../../schemas/Account.ts"
import type { LedgerCheck, LedgerEntry } from "../../schemas/LedgerEntry.ts"
import { printJson, table } from "./Printing.ts"
import { json, url } from "./ServerFlags.ts"

/** An account as the operator sees it; amounts are decimal strings in USD. @category models @since 0.1.0 */
export interface AccountStory {
  readonly user: User
  readonly credits: Readonly<Record<"allowance_usd" | "purchased_usd" | "held_usd" | "available_usd", string>>
  /** Newest first, all of them. */
  readonly entries: ReadonlyArray<LedgerEntry>
}

/** What these commands ask, of the database itself or of a running server at `url`. @category models @since 0.1.0 */
export interface BookDesk<E, R> {
  readonly check: (url: string | null) => Effect.Effect<LedgerCheck, E, R>
  /** By id or e-mail address. */
  readonly story: (user: string, url: string | null) => Effect.Effect<AccountStory, E, R>
  /** Adds credits, or with a negative amount takes some away; the same reference does it once. */
  readonly addCredits: (user: string, amountUsd: string, reference: string, url: string | null) => Effect.Effect<LedgerEntry, E, R>
}

/** The book does not add up; what is wrong was printed. @category errors @since 0.1.0 */
export class LedgerNotSound extends Data.TaggedError("LedgerNotSound")<{ readonly message: string }> {}

const check = <E, R>(desk: BookDesk<E, R>) =>
  Command.make("check", { url, json }, (flags) =>
    Effect.gen(function* () {
      const result = yield* desk.check(Option.getOrNull(flags.url))
      if (flags.json) yield* printJson(result)
      else {
        for (const { account, detail, invariant } of result.violations) {
          yield* Console.log(`${invariant}${account === null ? "" : ` account ${account}`}: ${detail}`)
        }
        const verdict = result.ok ? "everything adds up" : `${result.violations.length} violations`
        yield* Console.log(`${result.accounts} accounts, ${result.entries} entries: ${verdict}`)
      }
      if (!result.ok) return yield* new LedgerNotSound({ message: `the ledger has ${result.violations.length} violations` })
    })
  ).pipe(
    Command.withDescription(
      "Prove the ledger's invariants over the whole database; exits with 1 and the violations when one does not hold"
    ),
    Command.withExamples([
      { command: "sluice ledger check", description: "The database of DATABASE_URL, or the one under DATA_DIR" },
      { command: "sluice ledger check --json --url http://127.0.0.1:8080", description: "Through a running server, for machines" }
    ])
  )

/** `sluice ledger …`. @category constructors @since 0.1.0 */
export const ledger = <E, R>(desk: BookDesk<E, R>) =>
  Command.make("ledger").pipe(Command.withDescription("The credit ledger"), Command.withSubcommands([check(desk)]))

const addCredits = <E, R>(desk: BookDesk<E, R>) =>
  Command.make(
    "add",
    {
      user: Argument.String("user").pipe(Argument.withDescription("Id or e-mail address")),
      amount: Argument.String("amount").pipe(Argument.withDescription("USD such as 10.00; a correction is negative, after --")),
      reference: Flag.String("reference").pipe(Flag.withDescription("What it is for, such as an invoice; the same one is applied once")),
      url,
      json
    },
    (flags) =>
      Effect.gen(function* () {
        const entry = yield* desk.addCredits(flags.user, flags.amount, flags.reference, Option.getOrNull(flags.url))
        if (flags.json) return yield* printJson(entry)
        yield* Console.log(`${entry.kind} of ${entry.amount_usd} USD at ${entry.created_at}, reference ${entry.reference ?? ""}`)
      })
  ).pipe(
    Command.withDescription("Add credits to an account; repeated with the same reference it does nothing more"),
    Command.withExamples([
      { command: "sluice credits add ada@example.com 10.00 --reference invoice-1", description: "Once, however often it is run" }
    ])
  )

/** `sluice credits USER`. @category constructors @since 0.1.0 */
export const credits = <E, R>(desk: BookDesk<E, R>) =>
  Command.make("credits", { user: Argument.String("user").pipe(Argument.withDescription("Id or e-mail address")), url, json }, (flags) =>
    Effect.gen(function* () {
      const story = yield* desk.story(flags.user, Option.getOrNull(flags.url))
      if (flags.json) return yield* printJson(story)
      const { allowance_usd, available_usd, held_usd, purchased_usd } = story.credits
      yield* Console.log(`${story.user.email} (${story.user.id}), plan ${story.user.plan}, ${story.user.status}`)
      yield* Console.log(`Allowance ${allowance_usd}, purchased ${purchased_usd}, held ${held_usd}, available ${available_usd} USD\n`)
      const rows = story.entries.map((entry) => [
        entry.created_at,
        entry.kind,
        entry.amount_usd,
        entry.allowance_usd,
        entry.purchased_usd,
        [entry.request_id ?? entry.reference ?? "", entry.model ?? "", entry.provider === null ? "" : `by ${entry.provider}`]
          .join(" ")
          .trim()
      ])
      yield* Console.log(table([["TIME", "KIND", "AMOUNT", "ALLOWANCE", "PURCHASED", "WHAT"], ...rows]))
    })
  ).pipe(
    Command.withDescription("The whole story of an account: its balance and every entry, newest first; or `add` some"),
    Command.withSubcommands([addCredits(desk)]),
    Command.withExamples([
      { command: "sluice credits ada@example.com", description: "By e-mail address" },
      { command: "sluice credits 0198c0de-… --json", description: "By id, for machines" }
    ])
  )
