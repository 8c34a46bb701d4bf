/**
 * Key derivation by Node's own crypto, in its thread pool.
 *
 * @since 0.1.0
 */
import { layerKdf } from "@effect/platform-node/NodeCrypto"

/** Argon2id among others. @category layers @since 0.1.0 */
export const layer = layerKdf
