/**
 * Users and keys as the `sluice` command manages them: in the database itself, or through a running server.
 *
 * @since 0.1.0
 */
import { Effect, type FileSystem, Layer, Logger, Option, type Path, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { ApiKey, User } from "../schemas/Account.ts"
import { LedgerEntry } from "../schemas/LedgerEntry.ts"
import * as Money from "../schemas/Money.ts"
import type { People, PeopleDesk } from "../src/cli/PeopleCommands.ts"
import { Accounts } from "../src/identity/Accounts.ts"
import { AuditLog } from "../src/identity/AuditLog.ts"
import { KeyRotation, RotationStep } from "../src/identity/KeyRotation.ts"
import { Keys } from "../src/identity/Keys.ts"
import type { Page } from "../src/identity/Page.ts"
import { Ledger } from "../src/ledger/Ledger.ts"
import { DeskError, type RemoteServer, reach } from "./Desk.ts"
import * as Embedded from "./Embedded.ts"
import * as Secrets from "./Secrets.ts"
import * as Service from "./Service.ts"
import * as Settings from "./Settings.ts"

const PAGE = 1_000

const MadeUser = Schema.Struct({ user: User, api_key: Schema.String })
const MadeKey = Schema.Struct({ ...ApiKey.fields, key: Schema.String })
const UserPage = Schema.Struct({ data: Schema.Array(User), next_cursor: Schema.NullOr(Schema.String) })
const KeyPage = Schema.Struct({ data: Schema.Array(ApiKey), next_cursor: Schema.NullOr(Schema.String) })

const all = Effect.fnUntraced(function* (read: (cursor: string | null) => Effect.Effect<Page<ApiKey>, unknown>) {
  const rows: Array<ApiKey> = []
  for (let cursor: string | null = null; ; ) {
    const page: Page<ApiKey> = yield* read(cursor)
    rows.push(...page.data)
    if (page.next === null) return rows
    cursor = page.next
  }
})

const remote = ({ call, get }: RemoteServer): People => {
  const path = (name: string, rest = "") => `/admin/users/${encodeURIComponent(name)}${rest}`
  const paged = (limit: number, cursor: string | null) => `?limit=${limit}${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`
  return {
    createUser: (email, plan, partnerCode) => call("POST", "/admin/users", MadeUser, { email, plan, partner_code: partnerCode }),
    users: (limit, cursor) =>
      Effect.map(get(`/admin/users${paged(limit, cursor)}`, UserPage), (page) => ({ data: page.data, next: page.next_cursor })),
    user: (name) => get(path(name), User),
    setPlan: (name, plan) => Effect.flatMap(get(path(name), User), ({ id }) => call("PUT", path(id, "/plan"), User, { plan })),
    keys: (name) =>
      all((cursor) =>
        Effect.map(get(path(name, `/keys${paged(PAGE, cursor)}`), KeyPage), (page) => ({ data: page.data, next: page.next_cursor }))
      ),
    createKey: (name, key) => call("POST", path(name, "/keys"), MadeKey, key),
    revokeKey: (name, id) => call("DELETE", path(name, `/keys/${encodeURIComponent(id)}`), ApiKey),
    addCredits: (name, amount_usd, reference) =>
      Effect.flatMap(get(path(name), User), ({ id }) => call("POST", path(id, "/credits"), LedgerEntry, { amount_usd, reference })),
    rotate: (after) => call("POST", "/admin/keys/rotate", RotationStep, { after })
  }
}

const direct = Effect.gen(function* () {
  const accounts = yield* Accounts
  const keys = yield* Keys
  const rotation = yield* KeyRotation
  const audit = yield* AuditLog
  const ledger = yield* Ledger
  const record = (action: string, account: string | null, details: Readonly<Record<string, unknown>>) =>
    audit.record({ action, actor: "operator", account, ip: null, requestId: null, details: { ...details, by: "sluice" } })
  const people: People = {
    createUser: Effect.fnUntraced(function* (email, plan, partnerCode) {
      const made = yield* accounts.create({ email, plan, partnerCode: partnerCode ?? undefined, emailVerified: true })
      yield* record("USER_CREATED", made.user.id, { plan: made.user.plan })
      return { user: made.user, api_key: Redacted.value(made.apiKey) }
    }),
    users: (limit, cursor) => accounts.list({ limit, cursor }),
    user: accounts.find,
    setPlan: Effect.fnUntraced(function* (name, plan) {
      const before = yield* accounts.find(name)
      const changed = yield* accounts.setPlan(before.id, plan)
      yield* record("PLAN_CHANGED", before.id, { old_plan: before.plan, new_plan: plan })
      return changed
    }),
    keys: (name) => Effect.flatMap(accounts.find(name), ({ id }) => all((cursor) => keys.list(id, { limit: PAGE, cursor }))),
    createKey: Effect.fnUntraced(function* (name, key) {
      const { id } = yield* accounts.find(name)
      const made = yield* keys.create(id, key)
      yield* record("KEY_CREATED", id, { key: made.row.id, name: made.row.name, scopes: made.row.scopes })
      return { ...made.row, key: Redacted.value(made.key) }
    }),
    revokeKey: Effect.fnUntraced(function* (name, keyId) {
      const { id } = yield* accounts.find(name)
      const row = yield* keys.revoke(id, keyId)
      yield* record("KEY_REVOKED", id, { key: keyId, name: row.name })
      return row
    }),
    addCredits: Effect.fnUntraced(function* (name, amountUsd, reference) {
      const amount = Option.getOrElse(Money.fromUsd(amountUsd.trim()), () => Money.zero)
      if (amount === 0n)
        return yield* new DeskError({ message: `${JSON.stringify(amountUsd)} is no amount in USD such as 10.00, other than zero.` })
      const { id } = yield* accounts.find(name)
      const kind = amount > 0n ? ("topup" as const) : ("adjust" as const)
      const entry = yield* ledger.grant({ accountId: id, kind, allowance: Money.zero, purchased: amount, reference })
      yield* record("CREDITS_ADJUSTED", id, { amount_usd: Money.toUsd(amount), reference })
      return entry
    }),
    rotate: (after) =>
      Effect.tap(rotation.step(after), ({ failed, rotated }) =>
        rotated + failed.length > 0 ? record("KEYS_ROTATED", null, { rotated, failed }) : Effect.void
      )
  }
  return people
})

const services = Effect.fnUntraced(function* (given: Settings.Settings) {
  // Beside servers this has to use the secrets that they do, not some of its own.
  const settings = yield* Settings.requireInService(given)
  const secrets = yield* Effect.provide(Secrets.read(settings), SecureRandom.layerWebCrypto)
  return settings.databaseUrl === null
    ? Embedded.administration(settings, secrets)
    : Service.administration(settings, secrets, settings.databaseUrl)
})

/** What is worth a warning does not stand among what a command prints. */
const logging = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

/** @category constructors @since 0.1.0 */
export const desk: PeopleDesk<DeskError, FileSystem.FileSystem | Path.Path> = (url, work) =>
  reach(url, {
    remote: (server) => work(remote(server)),
    direct: (settings) =>
      Effect.flatMap(services(settings), (layer) => Effect.provide(Effect.flatMap(direct, work), Layer.provide(layer, logging)))
  })
