/**
 * Keyed hashes by Node's own crypto, which hashes at once where the web's only promises.
 *
 * @since 0.1.0
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import { Layer, Redacted } from "effect"
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
