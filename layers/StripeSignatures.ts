/**
 * Stripe's signatures, by Stripe's own package.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Redacted } from "effect"
import { BadSignature, PaymentSignatures } from "../src/billing/StripeInbox.ts"

/** Verifies with the endpoint's secret; null verifies nothing and lets no event be kept. @category layers @since 0.1.0 */
export const layer = (secret: Redacted.Redacted | null) =>
  Layer.effect(
    PaymentSignatures,
    Effect.gen(function* () {
      if (secret === null) return PaymentSignatures.of({ verify: null })
      // Loaded only where it is needed: it is large.
      const { Stripe } = yield* Effect.promise(() => import("stripe"))
      // No call is ever made with this key.
      const { webhooks } = new Stripe("none")
      return PaymentSignatures.of({
        verify: (body, signature) =>
          Effect.tryPromise({
            try: () => webhooks.constructEventAsync(body, signature, Redacted.value(secret)),
            catch: (error) =>
              new BadSignature({ message: (error instanceof Error ? error.message : "").split("\n")[0]?.slice(0, 200) ?? "" })
          })
      })
    })
  )
