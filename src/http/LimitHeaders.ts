/**
 * The headers that tell a caller where the limits stand, in both families.
 *
 * @since 0.1.0
 */
import type { LimitView } from "../limits/KeyLimits.ts"

const untilReset = (resetAt: number, now: number): string => `${Math.max(0, Math.ceil((resetAt - now) / 1_000))}s`

/**
 * `X-RateLimit-*` (Unix seconds), the IETF's `RateLimit-*` (seconds left) and OpenAI's `x-ratelimit-*-{requests,tokens}` (a
 * duration); in velocity mode, what it does.
 *
 * @category formatting
 * @since 0.1.0
 */
export const limitHeaders = (view: LimitView, now: number): Record<string, string> => {
  const headers: Record<string, string> = {}
  if (view.requests !== null) {
    const { limit, remaining, resetAt } = view.requests
    headers["x-ratelimit-limit"] = String(limit)
    headers["x-ratelimit-remaining"] = String(remaining)
    headers["x-ratelimit-reset"] = String(Math.ceil(resetAt / 1_000))
    headers["ratelimit-limit"] = String(limit)
    headers["ratelimit-remaining"] = String(remaining)
    headers["ratelimit-reset"] = String(Math.max(0, Math.ceil((resetAt - now) / 1_000)))
    headers["x-ratelimit-limit-requests"] = String(limit)
    headers["x-ratelimit-remaining-requests"] = String(remaining)
    headers["x-ratelimit-reset-requests"] = untilReset(resetAt, now)
  }
  if (view.tokens !== null) {
    headers["x-ratelimit-limit-tokens"] = String(view.tokens.limit)
    headers["x-ratelimit-remaining-tokens"] = String(view.tokens.remaining)
    headers["x-ratelimit-reset-tokens"] = untilReset(view.tokens.resetAt, now)
  }
  if (view.velocity !== null) {
    headers["x-ratelimit-mode"] = "velocity"
    headers["x-velocity-mode-active"] = "true"
    headers["x-velocity-mode-until"] = String(Math.ceil(view.velocity.until / 1_000))
    headers["x-velocity-mode-multiplier"] = String(view.velocity.factor)
  } else if (view.requests !== null) headers["x-ratelimit-mode"] = "normal"
  return headers
}
