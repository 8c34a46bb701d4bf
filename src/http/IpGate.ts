/**
 * The gate in front of authentication: whoever shows no valid key is counted by address.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Redacted } from "effect"
import { KeyHasher } from "../identity/KeyHasher.ts"
import { IpLimits } from "../limits/IpLimits.ts"
import { countedAddress } from "./RequestContext.ts"

/** Addresses whose pseudonyms are remembered, at most. */
const KNOWN_SIZE = 10_000

/** The limits by address, where the address itself is told. @category references @since 0.1.0 */
export class IpGate extends Context.Service<
  IpGate,
  Pick<IpLimits["Service"], "vouch" | "isVouched"> & {
    readonly enter: (ip: string | null) => ReturnType<IpLimits["Service"]["enter"]>
    readonly forgive: (ip: string | null) => Effect.Effect<void>
    /** What an address is known as wherever it is written down: 32 hexadecimal characters that only this deployment can make. */
    readonly pseudonym: (ip: string | null) => string
  }
>()("sluice/http/IpGate") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const limits = yield* IpLimits
      const hasher = yield* KeyHasher
      // By the text of the address: many are told again and again, and a pseudonym costs a parse and a hash.
      const known = new Map<string | null, string>()
      const pseudonym = (ip: string | null): string => {
        const before = known.get(ip)
        if (before !== undefined) return before
        const made = hasher.hash(Redacted.make(`address ${countedAddress(ip)}`)).slice(0, 32)
        if (known.size >= KNOWN_SIZE) known.clear()
        known.set(ip, made)
        return made
      }
      return IpGate.of({
        // Whoever is let in by a key is never counted: the pseudonym is made when it is needed.
        enter: (ip) => Effect.suspend(() => limits.enter(pseudonym(ip))),
        forgive: (ip) => Effect.suspend(() => limits.forgive(pseudonym(ip))),
        vouch: limits.vouch,
        isVouched: limits.isVouched,
        pseudonym
      })
    })
  )
}
