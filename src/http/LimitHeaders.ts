/**
 * The headers that tell a caller where the limits stand, in both families.
 *
 * @since 0.1.0
 */
import type { LimitView } from "../limits/KeyLimits.ts"

const secondsLeft = (resetAt: number, now: number): string => String(Math.max(0, Math.ceil((resetAt - now) / 1_000)))

/**
 * `X-RateLimit-*` (Unix seconds), the IETF's `RateLimit-*` (seconds left) and OpenAI's `x-ratelimit-*-{requests,tokens}` (a
 * duration); in velocity mode, what it does.
 *
 * @category formatting
 * @since 0.1.0
 */
export const limitHeaders = ({ requests, tokens, velocity }: LimitView, now: number): Record<string, string> => {
  const headers: Record<string, string> = {}
  if (requests !== null) {
    const limit = String(requests.limit)
    const remaining = String(requests.remaining)
    const seconds = secondsLeft(requests.resetAt, now)
    headers["x-ratelimit-limit"] = limit
    headers["x-ratelimit-remaining"] = remaining
    headers["x-ratelimit-reset"] = String(Math.ceil(requests.resetAt / 1_000))
    headers["ratelimit-limit"] = limit
    headers["ratelimit-remaining"] = remaining
    headers["ratelimit-reset"] = seconds
    headers["x-ratelimit-limit-requests"] = limit
    headers["x-ratelimit-remaining-requests"] = remaining
    headers["x-ratelimit-reset-requests"] = `${seconds}s`
  }
  if (tokens !== null) {
    headers["x-ratelimit-limit-tokens"] = String(tokens.limit)
    headers["x-ratelimit-remaining-tokens"] = String(tokens.remaining)
    headers["x-ratelimit-reset-tokens"] = `${secondsLeft(tokens.resetAt, now)}s`
  }
  if (velocity !== null) {
    headers["x-ratelimit-mode"] = "velocity"
    headers["x-velocity-mode-active"] = "true"
    headers["x-velocity-mode-until"] = String(Math.ceil(velocity.until / 1_000))
    headers["x-velocity-mode-multiplier"] = String(velocity.factor)
  } else if (requests !== null) headers["x-ratelimit-mode"] = "normal"
  return headers
}
