/**
 * What a provider's failure means: for its circuit, and for the request.
 *
 * @since 0.1.0
 */
import { isCallersMistake, isOfTheModel, type ProviderError } from "../../schemas/Provider.ts"

/** What the circuit is told: the caller's own 4xx, an unknown model and a limit say nothing of the provider's health. @category policies @since 0.1.0 */
export const breakerOutcome = (error: ProviderError): "failure" | "ignored" => {
  const reason = error.reason
  if (reason._tag !== "ProviderStatus") return "failure"
  return reason.status >= 500 || reason.status === 401 || reason.status === 402 || reason.status === 403 || reason.status === 408
    ? "failure"
    : "ignored"
}

/** What happens next. `Stop`: nobody else would mend it. `Exhausted`: no other provider of this model is asked, as it is limited or cannot take the prompt. @category models @since 0.1.0 */
export type NextStep =
  | { readonly _tag: "Stop" }
  | { readonly _tag: "Retry"; readonly delayMs: number }
  | { readonly _tag: "Exhausted" }
  | { readonly _tag: "Next" }

/** What is known when a candidate has failed. @category models @since 0.1.0 */
export interface Situation {
  readonly error: ProviderError
  /** Calls made to this candidate so far, the failed one included. */
  readonly tries: number
  /** Another candidate of the same model is left. */
  readonly othersLeft: boolean
  /** Between 0 and 1. */
  readonly random: number
}

/** Calls to one provider under its limits, and the longest wait it may ask for. */
const MAX_LIMITED_TRIES = 3
const MAX_RETRY_AFTER = 10_000
const FIRST_DELAY = 500

/** A connection that was open and went away, as opposed to one that never came to be. */
const resets = ["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]

/** @category policies @since 0.1.0 */
export const nextStep = ({ error, othersLeft, random, tries }: Situation): NextStep => {
  if (isCallersMistake(error)) return { _tag: isOfTheModel(error) ? "Exhausted" : "Stop" }
  const reason = error.reason
  switch (reason._tag) {
    case "ProviderStatus": {
      if (reason.status === 429) {
        const delayMs = reason.retryAfterMs ?? FIRST_DELAY * 2 ** (tries - 1) * (0.5 + random)
        return tries >= MAX_LIMITED_TRIES || delayMs > MAX_RETRY_AFTER ? { _tag: "Exhausted" } : { _tag: "Retry", delayMs }
      }
      return reason.status >= 500 && !othersLeft && tries === 1 ? { _tag: "Retry", delayMs: 100 + 200 * random } : { _tag: "Next" }
    }
    case "ProviderConnection":
      return !reason.answered && tries === 1 && resets.includes(reason.message) ? { _tag: "Retry", delayMs: 50 * random } : { _tag: "Next" }
    case "ProviderTimeout":
    case "ProviderAnswer":
      return { _tag: "Next" }
  }
}

/** A word for the request row. @category formatting @since 0.1.0 */
export const errorCode = (error: ProviderError): string => {
  const reason = error.reason
  switch (reason._tag) {
    case "ProviderStatus":
      return `status_${reason.status}`
    case "ProviderTimeout":
      return `timeout_${reason.phase}`
    case "ProviderConnection":
      return reason.answered ? "connection_broken" : "connection_failed"
    case "ProviderAnswer":
      return `answer_${reason.fault}`
  }
}
