/**
 * Keyed hashes and random bytes by Node's own crypto, which gives them at once where the web's only promises, or asks the
 * system for every few bytes.
 *
 * @since 0.1.0
 */
import { createHmac, randomFillSync, timingSafeEqual } from "node:crypto"
import { Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { KeyHasher } from "../src/identity/KeyHasher.ts"

/** Refuses a secret of less than 16 characters. @category layers @since 0.1.0 */
export const layer = (secret: Redacted.Redacted): Layer.Layer<KeyHasher> =>
  Layer.sync(KeyHasher, () => {
    const salt = Redacted.value(secret)
    if (salt.length < 16) throw new RangeError("the secret for hashing keys needs at least 16 characters")
    const digest = (key: Redacted.Redacted) => createHmac("sha256", salt).update(Redacted.value(key))
    return KeyHasher.of({
      hash: (key) => digest(key).digest("hex"),
      equals: (a, b) => timingSafeEqual(digest(a).digest(), digest(b).digest())
    })
  })

const POOL = 8_192
/** Requests larger than this have bytes of their own. */
const POOLED = 64

/** Random bytes out of a pool that is filled at once; what was given is wiped from it. @category layers @since 0.1.0 */
export const random: Layer.Layer<SecureRandom.SecureRandom> = Layer.sync(SecureRandom.SecureRandom, () => {
  const pool = new Uint8Array(POOL)
  let at = POOL
  return SecureRandom.make((size) => {
    if (size > POOLED) return randomFillSync(new Uint8Array(size))
    if (at + size > POOL) {
      randomFillSync(pool)
      at = 0
    }
    const bytes = pool.slice(at, at + size)
    pool.fill(0, at, at + size)
    at += size
    return bytes
  })
})
