/**
 * Whether the secrets that a server was started with are those of the keys that its database has.
 *
 * @since 0.1.0
 */
import { Effect, Redacted, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import type { Fernet } from "./Fernet.ts"
import { KeyHasher } from "./KeyHasher.ts"

const Newest = Schema.Array(Schema.Struct({ key_hash: Schema.String, encrypted_key: Schema.String }))

const GENERATED = "Secrets that were generated are in secrets.json in DATA_DIR."

/** What is wrong, and what to do about it; null where nothing is. */
const faultOf = Effect.fnUntraced(function* (fernet: Fernet) {
  const sql = yield* SqlClient.SqlClient
  const hasher = yield* KeyHasher
  // The newest alone: keys that were made since a secret was changed on purpose are as they should be.
  const rows = yield* sql`SELECT key_hash, encrypted_key FROM api_keys WHERE revoked_at IS NULL ORDER BY id DESC LIMIT 1`
  const [newest] = yield* Schema.decodeUnknownEffect(Newest)(rows)
  if (newest === undefined) return null
  const plain = yield* Effect.option(fernet.decrypt(newest.encrypted_key))
  if (plain._tag === "None")
    return `The newest key of this database was encrypted under another KEY_ENCRYPTION_KEY: add that one, after a comma. If KEY_HASH_SECRET was changed as well, keys from before are not known: set it to what it was. ${GENERATED}`
  return hasher.hash(Redacted.make(plain.value)) === newest.key_hash
    ? null
    : `The newest key of this database was hashed with another KEY_HASH_SECRET: keys from before are not known. Set it to what it was, or make new keys. ${GENERATED}`
})

/** Warns where callers would be told that their good keys are unknown. Never fails. @category running @since 0.1.0 */
export const warn = (fernet: Fernet) =>
  faultOf(fernet).pipe(
    Effect.flatMap((fault) => (fault === null ? Effect.void : Effect.logWarning(fault))),
    Effect.catch((error) => Effect.logWarning(`The secrets could not be checked against a key: ${messageOf(error).slice(0, 300)}`))
  )
