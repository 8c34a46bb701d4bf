/**
 * The commands about users and their keys.
 *
 * @since 0.1.0
 */
import { Console, Data, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { ApiKey, User } from "../../schemas/Account.ts"
import type { LedgerEntry } from "../../schemas/LedgerEntry.ts"
import { PlanId } from "../../schemas/Plan.ts"
import type { RotationStep } from "../identity/KeyRotation.ts"
import type { NewKey } from "../identity/KeySettings.ts"
import type { Page } from "../identity/Page.ts"
import { printJson, table } from "./Printing.ts"
import { json, url } from "./ServerFlags.ts"

/** What these commands ask for; users by id or e-mail address. A plain key is shown once, where it is made. @category models @since 0.1.0 */
export interface People {
  readonly createUser: (
    email: string,
    plan: PlanId | null,
    partnerCode: string | null
  ) => Effect.Effect<{ readonly user: User; readonly api_key: string }, unknown>
  readonly users: (limit: number, cursor: string | null) => Effect.Effect<Page<User>, unknown>
  readonly user: (name: string) => Effect.Effect<User, unknown>
  readonly setPlan: (name: string, plan: PlanId) => Effect.Effect<User, unknown>
  /** All of them, newest first. */
  readonly keys: (name: string) => Effect.Effect<ReadonlyArray<ApiKey>, unknown>
  readonly createKey: (name: string, key: NewKey) => Effect.Effect<ApiKey & { readonly key: string }, unknown>
  readonly revokeKey: (name: string, id: string) => Effect.Effect<ApiKey, unknown>
  /** USD, negative to take some away; the same reference does it once. */
  readonly addCredits: (name: string, amountUsd: string, reference: string) => Effect.Effect<LedgerEntry, unknown>
  /** A step of the rotation, from where the one before ended. */
  readonly rotate: (after: string | null) => Effect.Effect<RotationStep, unknown>
}

/** Runs work against the database itself or a running server at `url`. @category models @since 0.1.0 */
export type PeopleDesk<E, R> = <A>(url: string | null, work: (people: People) => Effect.Effect<A, unknown>) => Effect.Effect<A, E, R>

/** Some secrets could not be rotated; which was printed. @category errors @since 0.1.0 */
export class RotationIncomplete extends Data.TaggedError("RotationIncomplete")<{ readonly message: string }> {}

const user = Argument.String("user").pipe(Argument.withDescription("Id or e-mail address"))
const optional = (name: string, description: string) => Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)
const several = (name: string, description: string) => Flag.String(name).pipe(Flag.withDescription(description), Flag.between(0, 100))

const userRow = (row: User) => [row.id, row.email, row.role, row.plan, row.status, row.created_at]
const userTable = (rows: ReadonlyArray<User>) => table([["ID", "EMAIL", "ROLE", "PLAN", "STATUS", "CREATED"], ...rows.map(userRow)])

const createUser = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make(
    "create",
    {
      email: Argument.String("email"),
      plan: Flag.Literals("plan", PlanId.literals).pipe(Flag.withDescription("Without one the user is on trial"), Flag.optional),
      partner: optional("partner-code", "Whose terms the trial begins on"),
      url,
      json
    },
    (flags) =>
      Effect.gen(function* () {
        const made = yield* desk(Option.getOrNull(flags.url), (people) =>
          people.createUser(flags.email, Option.getOrNull(flags.plan), Option.getOrNull(flags.partner))
        )
        if (flags.json) return yield* printJson(made)
        yield* Console.log(`${made.user.email} (${made.user.id}), plan ${made.user.plan}\nKey, shown this once: ${made.api_key}`)
      })
  ).pipe(
    Command.withDescription("Make a user with one key; the key is shown once"),
    Command.withExamples([
      { command: "sluice users create ada@example.com --plan dev", description: "In the database of DATABASE_URL, or under DATA_DIR" },
      { command: "sluice users create ada@example.com --json", description: "On trial; for machines" }
    ])
  )

const listUsers = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make(
    "list",
    {
      limit: Flag.Int("limit").pipe(Flag.withDescription("At most so many, 1 to 1000"), Flag.withDefault(100)),
      cursor: optional("cursor", "Go on where a list ended"),
      url,
      json
    },
    (flags) =>
      Effect.gen(function* () {
        const limit = Math.min(1_000, Math.max(1, flags.limit))
        const { data, next } = yield* desk(Option.getOrNull(flags.url), (people) => people.users(limit, Option.getOrNull(flags.cursor)))
        if (flags.json) return yield* printJson({ data, next_cursor: next })
        yield* Console.log(userTable(data))
        if (next !== null) yield* Console.log(`\nMore with --cursor "${next}"`)
      })
  ).pipe(
    Command.withDescription("Users, newest first"),
    Command.withExamples([{ command: "sluice users list --limit 20", description: "The newest twenty" }])
  )

const showUser = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("show", { user, url, json }, (flags) =>
    Effect.gen(function* () {
      const found = yield* desk(Option.getOrNull(flags.url), (people) => people.user(flags.user))
      if (flags.json) return yield* printJson(found)
      yield* Console.log(userTable([found]))
      if (found.trial !== null) {
        const { credit_left_usd, ends_at, requests_left, tokens_left } = found.trial
        yield* Console.log(`\nTrial until ${ends_at}: ${tokens_left} tokens, ${requests_left} requests, ${credit_left_usd} USD left`)
      }
    })
  ).pipe(
    Command.withDescription("One user, with what is left of a trial"),
    Command.withExamples([{ command: "sluice users show ada@example.com", description: "By e-mail address" }])
  )

const plan = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("plan", { user, plan: Argument.Literals("plan", PlanId.literals), url, json }, (flags) =>
    Effect.gen(function* () {
      const changed = yield* desk(Option.getOrNull(flags.url), (people) => people.setPlan(flags.user, flags.plan))
      yield* flags.json ? printJson(changed) : Console.log(userTable([changed]))
    })
  ).pipe(
    Command.withDescription("Change a user's plan; its allowance begins anew, purchased credits stay"),
    Command.withExamples([{ command: "sluice users plan ada@example.com team", description: "From now on" }])
  )

const keyRow = (row: ApiKey) => [
  row.id,
  row.name,
  `${row.prefix}…${row.last4}`,
  row.scopes.join(","),
  row.expires_at ?? "never",
  row.revoked_at ?? "",
  row.created_at
]
const keyTable = (rows: ReadonlyArray<ApiKey>) =>
  table([["ID", "NAME", "KEY", "SCOPES", "EXPIRES", "REVOKED", "CREATED"], ...rows.map(keyRow)])

const listKeys = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("list", { user, url, json }, (flags) =>
    Effect.gen(function* () {
      const rows = yield* desk(Option.getOrNull(flags.url), (people) => people.keys(flags.user))
      yield* flags.json ? printJson({ data: rows }) : Console.log(keyTable(rows))
    })
  ).pipe(
    Command.withDescription("A user's keys, newest first; revoked ones too"),
    Command.withExamples([{ command: "sluice keys list ada@example.com --json", description: "For machines" }])
  )

const createKey = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make(
    "create",
    {
      user,
      name: Argument.String("name").pipe(Argument.withDescription("Unique among the user's keys in use")),
      scope: several("scope", "What the key is for: inference, read, write, admin; repeatable; everything without one"),
      ip: several("ip", "An address or CIDR range that it may be used from; repeatable"),
      domain: several("domain", "A site that it may be used from; repeatable"),
      maxRequests: Flag.Int("max-requests").pipe(Flag.withDescription("Requests in all"), Flag.optional),
      expires: optional("expires", "When it ends, in ISO-8601"),
      url,
      json
    },
    (flags) =>
      Effect.gen(function* () {
        const wanted: NewKey = {
          name: flags.name,
          ...(flags.scope.length === 0 ? {} : { scopes: flags.scope }),
          ip_allowlist: flags.ip,
          domain_allowlist: flags.domain,
          max_requests: Option.getOrNull(flags.maxRequests),
          expires_at: Option.getOrNull(flags.expires)
        }
        const made = yield* desk(Option.getOrNull(flags.url), (people) => people.createKey(flags.user, wanted))
        if (flags.json) return yield* printJson(made)
        yield* Console.log(`${keyTable([made])}\n\nKey, shown this once: ${made.key}`)
      })
  ).pipe(
    Command.withDescription("Make a key for a user; it is shown once"),
    Command.withExamples([
      {
        command: "sluice keys create ada@example.com production --scope inference --ip 203.0.113.0/24",
        description: "One that only asks models, from one network"
      }
    ])
  )

const revokeKey = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("revoke", { user, key: Argument.String("key").pipe(Argument.withDescription("The key's id")), url, json }, (flags) =>
    Effect.gen(function* () {
      const row = yield* desk(Option.getOrNull(flags.url), (people) => people.revokeKey(flags.user, flags.key))
      yield* flags.json ? printJson(row) : Console.log(keyTable([row]))
    })
  ).pipe(
    Command.withDescription("Revoke a key; every server refuses it within a second"),
    Command.withExamples([
      { command: "sluice keys revoke ada@example.com 0198c0de-…", description: "By its id, as `sluice keys list` shows it" }
    ])
  )

const rotateKeys = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("rotate", { url, json }, (flags) =>
    Effect.gen(function* () {
      const failed: Array<string> = []
      const rotated = yield* desk(Option.getOrNull(flags.url), (people) =>
        Effect.gen(function* () {
          let done = 0
          for (let after: string | null = null; ; ) {
            const step: RotationStep = yield* people.rotate(after)
            done += step.rotated
            failed.push(...step.failed)
            if (!flags.json) yield* Console.log(`${done} rotated, ${step.remaining} to look at`)
            if (step.next === null) return done
            after = step.next
          }
        })
      )
      if (flags.json) yield* printJson({ rotated, failed })
      else for (const which of failed) yield* Console.log(`No key of KEY_ENCRYPTION_KEY opens ${which}`)
      if (failed.length > 0)
        return yield* new RotationIncomplete({ message: `${failed.length} secrets stay under a key that is not there` })
    })
  ).pipe(
    Command.withDescription(
      "Bring every secret at rest under the newest key of KEY_ENCRYPTION_KEY; safe to stop and to run again. Once it is through, the older keys may go"
    ),
    Command.withExamples([
      {
        command: "KEY_ENCRYPTION_KEY=new,old sluice keys rotate",
        description: "The newest key first; servers need both until this is through"
      },
      { command: "sluice keys rotate --json --url http://127.0.0.1:8080", description: "By a running server" }
    ])
  )

/** `sluice users …`. @category constructors @since 0.1.0 */
export const users = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("users").pipe(
    Command.withDescription("Users: make, list, show, change the plan"),
    Command.withSubcommands([createUser(desk), listUsers(desk), showUser(desk), plan(desk)])
  )

/** `sluice keys …`. @category constructors @since 0.1.0 */
export const keys = <E, R>(desk: PeopleDesk<E, R>) =>
  Command.make("keys").pipe(
    Command.withDescription("Keys: list, make, revoke; and the encryption of all secrets at rest"),
    Command.withSubcommands([listKeys(desk), createKey(desk), revokeKey(desk), rotateKeys(desk)])
  )
