/**
 * Disposable addresses, by the list of the `mailchecker` package.
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import { DisposableMail } from "../src/identity/EmailAddress.ts"

/** Known to be thrown away, and not in the list. */
const more = new Set(["tempmail.com", "temp-mail.com", "mailinator2.com", "throwaway.email"])

/** @category layers @since 0.1.0 */
export const layer = Layer.effect(
  DisposableMail,
  Effect.gen(function* () {
    // Read when the first address is asked about: the list is long, and most servers start without one.
    const list = yield* Effect.cached(Effect.promise(async () => (await import("mailchecker")).default.blacklist()))
    return DisposableMail.of({
      isDisposable: (domain) =>
        Effect.map(list, (listed) => {
          const labels = domain.split(".")
          return labels.some((_, at) => {
            const parent = labels.slice(at).join(".")
            return listed.has(parent) || more.has(parent)
          })
        })
    })
  })
)
