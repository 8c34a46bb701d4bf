/**
 * The secrets of a deployment: given by the settings, or made once and kept in the data directory.
 *
 * @since 0.1.0
 */
import { Effect, FileSystem, Path, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { SettingError } from "./SettingReaders.ts"
import type { Settings } from "./Settings.ts"

/** @category models @since 0.1.0 */
export interface Secrets {
  readonly adminApiKey: Redacted.Redacted
  /** The admin key was made just now: show it, it is not shown again. */
  readonly adminKeyIsNew: boolean
  readonly keyEncryptionKeys: ReadonlyArray<Redacted.Redacted>
  readonly keyHashSecret: Redacted.Redacted
}

const Stored = Schema.fromJsonString(
  Schema.Struct({ adminApiKey: Schema.String, keyEncryptionKey: Schema.String, keyHashSecret: Schema.String })
)

const broken = (path: string) =>
  new SettingError({ message: `${path} cannot be read as the generated secrets. Put it back, or remove the data directory to start anew.` })

const generate = Effect.gen(function* () {
  const random = yield* SecureRandom.SecureRandom
  const token = Effect.map(random.randomBytes(32), (bytes) => Base64Url.encode(bytes))
  return { adminApiKey: `gw_admin_${yield* token}`, keyEncryptionKey: `${yield* token}=`, keyHashSecret: yield* token }
})

/** What the data directory keeps, made when it keeps nothing; files of mode 0600. */
const loadOrGenerate = Effect.fnUntraced(function* (dataDir: string) {
  const files = yield* FileSystem.FileSystem
  const path = (yield* Path.Path).join(dataDir, "secrets.json")
  if (yield* files.exists(path)) {
    const text = yield* files.readFileString(path)
    const stored = yield* Effect.mapError(Schema.decodeEffect(Stored)(text), () => broken(path))
    return { stored, isNew: false }
  }
  yield* files.makeDirectory(dataDir, { recursive: true, mode: 0o700 })
  const stored = yield* generate
  // Written beside and moved, so that a crash never leaves half a file.
  yield* files.writeFileString(`${path}.new`, yield* Effect.orDie(Schema.encodeEffect(Stored)(stored)), { mode: 0o600 })
  yield* files.rename(`${path}.new`, path)
  return { stored, isNew: true }
})

/** @category constructors @since 0.1.0 */
export const read = Effect.fnUntraced(function* (settings: Settings) {
  const { adminApiKey, keyEncryptionKeys, keyHashSecret } = settings
  if (adminApiKey !== null && keyEncryptionKeys !== null && keyHashSecret !== null) {
    return { adminApiKey, adminKeyIsNew: false, keyEncryptionKeys, keyHashSecret }
  }
  const { isNew, stored } = yield* loadOrGenerate(settings.dataDir).pipe(
    Effect.catchTag("PlatformError", (error) =>
      Effect.fail(new SettingError({ message: `DATA_DIR is ${JSON.stringify(settings.dataDir)}, but it cannot be used: ${error.message}` }))
    )
  )
  const secrets: Secrets = {
    adminApiKey: adminApiKey ?? Redacted.make(stored.adminApiKey),
    adminKeyIsNew: isNew && adminApiKey === null,
    keyEncryptionKeys: keyEncryptionKeys ?? [Redacted.make(stored.keyEncryptionKey)],
    keyHashSecret: keyHashSecret ?? Redacted.make(stored.keyHashSecret)
  }
  return secrets
})
