/**
 * The book as the `sluice` command sees it: in the database itself, or through a running server.
 *
 * @since 0.1.0
 */
import { Console, Effect, type FileSystem, type Path, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { User } from "../schemas/Account.ts"
import { EncodedBalance, encodeBalance, LedgerCheck, LedgerEntry } from "../schemas/LedgerEntry.ts"
import * as Money from "../schemas/Money.ts"
import type { AccountStory, BookDesk } from "../src/cli/BookCommands.ts"
import * as LedgerBook from "../src/ledger/LedgerBook.ts"
import * as LedgerReads from "../src/ledger/LedgerReads.ts"
import { DeskError, database, type RemoteServer, reach } from "./Desk.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as FileJournals from "./FileJournals.ts"
import * as PeopleDesk from "./PeopleDesk.ts"
import type { Settings } from "./Settings.ts"

const PAGE = 1_000

const EntryPage = Schema.Struct({ data: Schema.Array(LedgerEntry), next_cursor: Schema.NullOr(Schema.String) })

/** Every page of a list, one after another. */
const allPages = <E, R>(
  read: (cursor: string | null) => Effect.Effect<{ readonly data: ReadonlyArray<LedgerEntry>; readonly next: string | null }, E, R>
) =>
  Effect.gen(function* () {
    const entries: Array<LedgerEntry> = []
    for (let cursor: string | null = null; ; ) {
      const page: { readonly data: ReadonlyArray<LedgerEntry>; readonly next: string | null } = yield* read(cursor)
      entries.push(...page.data)
      if (page.next === null) return entries
      cursor = page.next
    }
  })

const remote = ({ get }: RemoteServer) => {
  const story = Effect.fnUntraced(function* (name: string): Effect.fn.Return<AccountStory, DeskError> {
    const user = yield* get(`/admin/users/${encodeURIComponent(name)}`, User)
    const credits = yield* get(`/admin/users/${user.id}/credits`, EncodedBalance)
    const entries = yield* allPages((cursor) => {
      const path = `/admin/users/${user.id}/credits/entries?limit=${PAGE}${cursor === null ? "" : `&cursor=${cursor}`}`
      return Effect.map(get(path, EntryPage), (page) => ({ data: page.data, next: page.next_cursor }))
    })
    return { user, credits, entries }
  })
  return { check: get("/admin/ledger/check", LedgerCheck), story }
}

const UserRows = Schema.Array(Schema.Struct({ user: Schema.fromJsonString(User) }))

const direct = Effect.map(Effect.all([SqlClient.SqlClient, LedgerReads.make]), ([sql, reads]) => {
  const story = Effect.fnUntraced(function* (name: string): Effect.fn.Return<AccountStory, unknown> {
    const rows = yield* sql`SELECT json_build_object('id', id, 'email', email, 'role', role, 'tier', tier, 'plan', plan, 'status', status,
        'trial', NULL, 'created_at', created_at)::text AS user
      FROM users WHERE id = ${name} OR email = ${name.trim().toLowerCase()} LIMIT 1`
    const [row] = yield* Schema.decodeUnknownEffect(UserRows)(rows)
    const balance = row === undefined ? null : yield* reads.balance(row.user.id)
    if (row === undefined || balance === null) return yield* new DeskError({ message: `there is no user ${name}` })
    // What requests hold is known only to the processes that serve them.
    const allowance = Money.make(balance.allowance)
    const purchased = Money.make(balance.purchased)
    const credits = encodeBalance({ allowance, purchased, held: Money.zero, available: Money.make(allowance + purchased) })
    const entries = yield* allPages((cursor) =>
      Effect.map(reads.entries(row.user.id, PAGE, cursor), (data) => ({
        data,
        next: data.length < PAGE ? null : (data.at(-1)?.id ?? null)
      }))
    )
    return { user: row.user, credits, entries }
  })
  return { check: reads.check, story }
})

/** Says, beside the answer, that a server which is gone has ended requests that the book does not have yet. */
const tellUnwritten = Effect.fnUntraced(function* ({ dataDir, databaseUrl }: Settings) {
  const book = yield* LedgerBook.make
  const reads = yield* LedgerReads.make
  // Whoever has the directory knows that nobody else is at it.
  const journals = FileJournals.make(FileJournals.directoryOf(dataDir), databaseUrl === null ? () => true : DirectoryLock.isGone)
  const left = yield* journals.left(yield* book.id)
  const count = yield* reads.unwritten(left.flatMap(({ rows }) => rows.map(({ rid }) => rid)))
  if (count > 0)
    yield* Console.error(
      `Of the requests that a server ended which is gone, ${count} wait in the journal under ${dataDir} and are not in this: the next start writes them.`
    )
})

type Ask<A> = (desk: {
  readonly check: Effect.Effect<LedgerCheck, unknown>
  readonly story: (name: string) => Effect.Effect<AccountStory, unknown>
}) => Effect.Effect<A, unknown>

const ask = <A>(url: string | null, question: Ask<A>) =>
  reach(url, {
    remote: (server) => question(remote(server)),
    direct: (settings) => {
      const answer = Effect.flatMap(direct, question)
      return Effect.provide(Effect.tap(answer, Effect.ignore(tellUnwritten(settings))), database(settings))
    }
  })

/** @category constructors @since 0.1.0 */
export const desk: BookDesk<DeskError, FileSystem.FileSystem | Path.Path> = {
  check: (url) => ask(url, (book) => book.check),
  story: (user, url) => ask(url, (book) => book.story(user)),
  addCredits: (user, amount, reference, url) => PeopleDesk.desk(url, (people) => people.addCredits(user, amount, reference))
}
