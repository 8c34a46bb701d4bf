/**
 * Fernet tokens (version 0x80): AES-128-CBC and HMAC-SHA256 under one 32-byte key, as keys are kept at rest.
 *
 * Source: the Fernet specification, https://github.com/fernet/spec.
 *
 * @since 0.1.0
 */
import { Clock, Data, Effect, Option, Redacted, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url, Hex } from "effect/encoding"

/** The token is not one, was tampered with, or belongs to no key of the ring; or a key is not 32 bytes. @category errors @since 0.1.0 */
export class FernetError extends Data.TaggedError("FernetError")<{ readonly message: string }> {}

type ImportedKey = Awaited<ReturnType<typeof globalThis.crypto.subtle.importKey>>

interface FernetKey {
  readonly signing: ImportedKey
  readonly encryption: ImportedKey
  readonly version: string
}

const VERSION = 0x80
const HEAD = 1 + 8 + 16
const MAC = 32
const VERSION_LABEL = new TextEncoder().encode("sluice key version")

const bytesOf = (text: string): Uint8Array<ArrayBuffer> | null =>
  Option.getOrNull(Option.map(Result.getSuccess(Base64Url.decode(text.replace(/=+$/, ""))), (bytes) => Uint8Array.from(bytes)))

const importKey = (key: Redacted.Redacted): Effect.Effect<FernetKey, FernetError> =>
  Effect.suspend(() => {
    const bytes = bytesOf(Redacted.value(key))
    if (bytes === null || bytes.length !== 32) return Effect.fail(new FernetError({ message: "a Fernet key is 32 bytes in base64url" }))
    const { subtle } = globalThis.crypto
    return Effect.promise(async () => ({
      signing: await subtle.importKey("raw", bytes.slice(0, 16), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]),
      encryption: await subtle.importKey("raw", bytes.slice(16), "AES-CBC", false, ["encrypt", "decrypt"]),
      version: Hex.encode(new Uint8Array(await subtle.digest("SHA-256", Uint8Array.from([...VERSION_LABEL, ...bytes]))).slice(0, 4))
    }))
  })

const open = (key: FernetKey, token: Uint8Array<ArrayBuffer>): Effect.Effect<string, FernetError> =>
  Effect.tryPromise({
    try: async () => {
      const { subtle } = globalThis.crypto
      const signed = token.slice(0, -MAC)
      if (!(await subtle.verify("HMAC", key.signing, token.slice(-MAC), signed))) throw new Error("signature")
      const plain = await subtle.decrypt({ name: "AES-CBC", iv: token.slice(9, HEAD) }, key.encryption, signed.slice(HEAD))
      return new TextDecoder("utf-8", { fatal: true }).decode(plain)
    },
    catch: () => new FernetError({ message: "the token does not belong to this key" })
  })

/** Encrypts under the newest key of a ring, decrypts under whichever made the token. @category models @since 0.1.0 */
export interface Fernet {
  readonly encrypt: (text: string) => Effect.Effect<string>
  readonly decrypt: (token: string) => Effect.Effect<string, FernetError>
  /** Whether a token was made under the newest key. */
  readonly isNewest: (token: string) => Effect.Effect<boolean>
  /** Names the newest key without telling anything of it, for tokens that are kept. */
  readonly version: string
}

/** A key ring, newest first. @category constructors @since 0.1.0 */
export const make = Effect.fnUntraced(function* (ring: ReadonlyArray<Redacted.Redacted>) {
  const random = yield* SecureRandom.SecureRandom
  const keys = yield* Effect.forEach(ring, importKey)
  const newest = keys[0]
  if (newest === undefined) return yield* new FernetError({ message: "a key ring needs a key" })

  const encrypt = Effect.fnUntraced(function* (text: string) {
    const now = yield* Clock.currentTimeMillis
    const iv = Uint8Array.from(yield* random.randomBytes(16))
    const { subtle } = globalThis.crypto
    const cipher = yield* Effect.promise(() => subtle.encrypt({ name: "AES-CBC", iv }, newest.encryption, new TextEncoder().encode(text)))
    const signed = new Uint8Array(HEAD + cipher.byteLength)
    signed[0] = VERSION
    new DataView(signed.buffer).setBigUint64(1, BigInt(Math.floor(now / 1_000)))
    signed.set(iv, 9)
    signed.set(new Uint8Array(cipher), HEAD)
    const mac = yield* Effect.promise(() => subtle.sign("HMAC", newest.signing, signed))
    const token = new Uint8Array(signed.length + MAC)
    token.set(signed)
    token.set(new Uint8Array(mac), signed.length)
    const text64 = Base64Url.encode(token)
    return text64.padEnd(Math.ceil(text64.length / 4) * 4, "=")
  })

  const decrypt = Effect.fnUntraced(function* (token: string): Effect.fn.Return<string, FernetError> {
    const bytes = bytesOf(token)
    if (bytes === null || bytes.length < HEAD + 16 + MAC || bytes[0] !== VERSION)
      return yield* new FernetError({ message: "not a Fernet token" })
    return yield* Effect.firstSuccessOf(keys.map((key) => open(key, bytes)))
  })

  const isNewest = (token: string) => {
    const bytes = bytesOf(token)
    return bytes === null || bytes.length < HEAD + 16 + MAC ? Effect.succeed(false) : Effect.isSuccess(open(newest, bytes))
  }

  const fernet: Fernet = { encrypt, decrypt, isNewest, version: newest.version }
  return fernet
})
