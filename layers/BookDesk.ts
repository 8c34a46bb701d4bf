/**
 * The book as the `sluice` command sees it: in the database itself, or through a running server.
 *
 * @since 0.1.0
 */
import { join } from "node:path"
import { Data, Effect, FileSystem, Layer, type Path, type Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { SqlClient } from "effect/sql"
import { User } from "../schemas/Account.ts"
import { EncodedBalance, encodeBalance, LedgerCheck, LedgerEntry } from "../schemas/LedgerEntry.ts"
import * as Money from "../schemas/Money.ts"
import type { AccountStory, BookDesk } from "../src/cli/BookCommands.ts"
import { messageOf } from "../src/database/Failures.ts"
import * as LedgerReads from "../src/ledger/LedgerReads.ts"
import { definitions } from "../src/providers/RegistryData.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as PGlite from "./PGlite.ts"
import * as Postgres from "./Postgres.ts"
import * as Secrets from "./Secrets.ts"
import * as Settings from "./Settings.ts"

/** The book cannot be seen; the message says what to do. @category errors @since 0.1.0 */
export class DeskError extends Data.TaggedError("DeskError")<{ readonly message: string }> {}

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

/** Where a running server of this data directory listens: it says so in a file. @category accessors @since 0.1.0 */
export const addressFile = (dataDir: string): string => join(dataDir, "address")

const remote = (base: string, key: Redacted.Redacted) => {
  const get = <S extends Schema.Decoder<unknown>>(path: string, schema: S) =>
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const request = HttpClientRequest.get(`${base.replace(/\/+$/, "")}${path}`).pipe(HttpClientRequest.bearerToken(key))
      const response = yield* Effect.mapError(client.execute(request), () => new DeskError({ message: `${base} does not answer.` }))
      const body = yield* Effect.orElseSucceed(response.json, () => null)
      if (response.status !== 200) {
        const words = JSON.stringify(body)?.slice(0, 300) ?? ""
        return yield* new DeskError({ message: `${base}${path} answered ${response.status}: ${words}` })
      }
      return yield* Effect.mapError(
        Schema.decodeUnknownEffect(schema)(body),
        () => new DeskError({ message: `${base}${path} is not a Sluice of this version.` })
      )
    }).pipe(Effect.provide(FetchHttpClient.layer))

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

type Ask<A> = (desk: {
  readonly check: Effect.Effect<LedgerCheck, unknown>
  readonly story: (name: string) => Effect.Effect<AccountStory, unknown>
}) => Effect.Effect<A, unknown>

const fromUnknown = (error: unknown): DeskError =>
  error instanceof DeskError ? error : new DeskError({ message: messageOf(error).trim().slice(0, 500) || "the book cannot be read" })

const ask = <A>(url: string | null, question: Ask<A>) =>
  Effect.gen(function* () {
    const settings = yield* Settings.readForTools(definitions)
    const through = (address: string) =>
      Effect.flatMap(Effect.provide(Secrets.read(settings), SecureRandom.layerWebCrypto), ({ adminApiKey }) =>
        question(remote(address, adminApiKey))
      )
    if (url !== null) return yield* through(url)
    if (settings.databaseUrl !== null) {
      const database = Postgres.layer({ url: settings.databaseUrl, maxConnections: 1 })
      return yield* Effect.provide(Effect.flatMap(direct, question), database)
    }
    const files = yield* FileSystem.FileSystem
    const path = join(settings.dataDir, "postgres")
    if (!(yield* files.exists(path))) {
      const message = `There is no database under DATA_DIR ${settings.dataDir}. Start the server once, set DATABASE_URL, or name a server with --url.`
      return yield* new DeskError({ message })
    }
    // The database of a running server belongs to it: it is asked instead.
    const database = Layer.unwrap(Effect.as(DirectoryLock.acquire(settings.dataDir), PGlite.layer(path)))
    return yield* Effect.provide(Effect.flatMap(direct, question), database).pipe(
      Effect.catch((error) =>
        error instanceof DirectoryLock.DirectoryInUse
          ? Effect.flatMap(files.readFileString(addressFile(settings.dataDir)), (address) => through(address.trim()))
          : Effect.fail(error)
      )
    )
  }).pipe(Effect.mapError(fromUnknown))

/** @category constructors @since 0.1.0 */
export const desk: BookDesk<DeskError, FileSystem.FileSystem | Path.Path> = {
  check: (url) => ask(url, (book) => book.check),
  story: (user, url) => ask(url, (book) => book.story(user))
}
