/**
 * What the server says when it stands: where it listens, and in embedded mode a key and a line to try it with.
 *
 * @since 0.1.0
 */
import { Console, Effect, FileSystem, Path, Redacted, References } from "effect"
import { HttpServer } from "effect/http"
import { Accounts } from "../src/identity/Accounts.ts"
import { Identity } from "../src/identity/Identity.ts"
import { Keys } from "../src/identity/Keys.ts"
import { addressFile } from "./Desk.ts"
import type { Secrets } from "./Secrets.ts"
import type { Settings } from "./Settings.ts"

const DEVELOPER = "developer@sluice.example"

/** The developer key of this data directory: the one it keeps while that works, else a new one. */
const developerKey = Effect.fnUntraced(function* (dataDir: string) {
  const files = yield* FileSystem.FileSystem
  const accounts = yield* Accounts
  const keys = yield* Keys
  const identity = yield* Identity
  const path = (yield* Path.Path).join(dataDir, "developer-key")
  const kept = yield* Effect.orElseSucceed(files.readFileString(path), () => "")
  const works = yield* Effect.result(identity.authenticate(Redacted.make(kept.trim()), { ip: null, host: null }))
  if (works._tag === "Success") return kept.trim()
  const existing = (yield* accounts.list({ limit: 1_000, cursor: null })).data.find((user) => user.email === DEVELOPER)
  const key =
    existing === undefined
      ? (yield* accounts.create({ email: DEVELOPER, plan: "dev" })).apiKey
      : (yield* keys.create(existing.id, {
          name: `developer ${(yield* keys.list(existing.id, { limit: 1_000, cursor: null })).data.length}`
        })).key
  yield* files.writeFileString(path, Redacted.value(key), { mode: 0o600 })
  return Redacted.value(key)
})

/** One line for who waits for the address, whatever the log level is. @category logging @since 0.1.0 */
export const sayListening = (url: string) =>
  Effect.provideService(Effect.log(`Sluice listens on ${url}`), References.MinimumLogLevel, "Info")

/** @category constructors @since 0.1.0 */
export const announce = Effect.fnUntraced(function* (settings: Settings, secrets: Secrets) {
  const { address } = yield* HttpServer.HttpServer
  const url = HttpServer.formatAddress(address)
  if (settings.databaseUrl !== null) return yield* sayListening(url)
  const key = yield* developerKey(settings.dataDir)
  const files = yield* FileSystem.FileSystem
  yield* files.writeFileString(addressFile(settings.dataDir), `${url}\n`)
  yield* Console.log(
    [
      "",
      `  Sluice listens on ${url}`,
      `  Data: ${settings.dataDir} (embedded mode)`,
      ...(secrets.adminKeyIsNew ? ["", `  Admin key, shown this once: ${Redacted.value(secrets.adminApiKey)}`] : []),
      "",
      `  Developer key: ${key}`,
      "  Try it:",
      "",
      `  curl -N ${url}/v1/chat/completions -H "authorization: Bearer ${key}" -H "content-type: application/json" -d '{"model":"sandbox/echo","stream":true,"messages":[{"role":"user","content":"Hello from Sluice"}]}'`,
      ""
    ].join("\n")
  )
})
