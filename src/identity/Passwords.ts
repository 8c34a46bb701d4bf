/**
 * Passwords, kept as Argon2id in the customary text form. Few are hashed at once, so that a rush of logins leaves the
 * machine to everybody else.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Redacted, Semaphore } from "effect"
import { Kdf, SecureRandom } from "effect/crypto"
import { Base64 } from "effect/encoding"
import { type AccountsError, fail } from "./AccountsError.ts"
import { KeyHasher } from "./KeyHasher.ts"

/** @category services @since 0.1.0 */
export class Passwords extends Context.Service<
  Passwords,
  {
    readonly hash: (password: Redacted.Redacted) => Effect.Effect<string, AccountsError>
    /** Whether a password is the one that a hash was made of. Without a hash it takes as long, and is not. */
    readonly verify: (password: Redacted.Redacted, hash: string | null) => Effect.Effect<boolean, AccountsError>
  }
>()("sluice/identity/Passwords") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** What a password must be; null when it is that. @category validation @since 0.1.0 */
export const refusePassword = (password: string): string | null =>
  [...password].length >= MIN_LENGTH && [...password].length <= MAX_LENGTH
    ? null
    : `\`password\` must have ${MIN_LENGTH} to ${MAX_LENGTH} characters.`

const MIN_LENGTH = 8
const MAX_LENGTH = 200

/** Memory in KiB: OWASP's recommendation of 19 MiB and two passes. */
interface Cost {
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
}
const COST: Cost = { memory: 19_456, passes: 2, parallelism: 1 }
/** What a stored hash may ask for, so that a row cannot take the machine. */
const MAX_MEMORY = 1_048_576
const SALT = 16
const LENGTH = 32

/** Hashes under way at once, and those that may wait for their turn. */
const AT_ONCE = 2
const WAITING = 64

const bare = (bytes: Uint8Array): string => Base64.encode(bytes).replace(/=+$/, "")
const bytesOf = (text: string): Uint8Array | null => {
  const decoded = Base64.decode(text.padEnd(Math.ceil(text.length / 4) * 4, "="))
  return decoded._tag === "Success" ? decoded.success : null
}

const pattern = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

const parse = (hash: string): { readonly cost: Cost; readonly salt: Uint8Array; readonly derived: string } | null => {
  const found = pattern.exec(hash)
  const salt = bytesOf(found?.[4] ?? "")
  if (found === null || salt === null) return null
  const cost = { memory: Number(found[1]), passes: Number(found[2]), parallelism: Number(found[3]) }
  return cost.memory > MAX_MEMORY ? null : { cost, salt, derived: found[5] ?? "" }
}

const make = Effect.gen(function* () {
  const kdf = yield* Kdf.Kdf
  const random = yield* SecureRandom.SecureRandom
  const hasher = yield* KeyHasher
  const turns = yield* Semaphore.make(AT_ONCE)
  let waiting = 0

  // The same characters typed on another keyboard are the same password.
  const derive = (password: Redacted.Redacted, cost: Cost, salt: Uint8Array) =>
    Effect.suspend(() => {
      if (waiting >= AT_ONCE + WAITING) return Effect.fail(fail("busy", "Too many sign in at this moment. Try again shortly."))
      waiting++
      const secret = new TextEncoder().encode(Redacted.value(password).normalize("NFKC"))
      return kdf.derive(Kdf.argon2id(cost), secret, { salt, length: LENGTH }).pipe(
        Effect.orDie,
        turns.withPermits(1),
        Effect.ensuring(
          Effect.sync(() => {
            waiting--
          })
        )
      )
    })

  const hash = Effect.fnUntraced(function* (password: Redacted.Redacted) {
    const salt = yield* random.randomBytes(SALT)
    const derived = yield* derive(password, COST, salt)
    return `$argon2id$v=19$m=${COST.memory},t=${COST.passes},p=${COST.parallelism}$${bare(salt)}$${bare(derived)}`
  })

  const verify = Effect.fnUntraced(function* (password: Redacted.Redacted, stored: string | null) {
    const known = stored === null ? null : parse(stored)
    const derived = bare(yield* derive(password, known?.cost ?? COST, known?.salt ?? new Uint8Array(SALT)))
    const same = hasher.equals(Redacted.make(derived), Redacted.make(known?.derived ?? ""))
    return known !== null && same
  })

  return Passwords.of({ hash, verify })
})
