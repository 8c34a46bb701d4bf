/**
 * The headers that tell a caller where the limits stand, in both families.
 *
 * @since 0.1.0
 */
import type { LimitView } from "../limits/KeyLimits.ts"

const untilReset = (resetAt: number, now: number): string => `${Math.max(0, Math.ceil((resetAt - now) / 1_000))}s`

/** `X-RateLimit-*` (Unix seconds) and OpenAI's `x-ratelimit-*-{requests,tokens}` (a duration). @category formatting @since 0.1.0 */
export const limitHeaders = (view: LimitView, now: number): Record<string, string> => {
  const headers: Record<string, string> = {}
  if (view.requests !== null) {
    const { limit, remaining, resetAt } = view.requests
    headers["x-ratelimit-limit"] = String(limit)
    headers["x-ratelimit-remaining"] = String(remaining)
    headers["x-ratelimit-reset"] = String(Math.ceil(resetAt / 1_000))
    headers["x-ratelimit-limit-requests"] = String(limit)
    headers["x-ratelimit-remaining-requests"] = String(remaining)
    headers["x-ratelimit-reset-requests"] = untilReset(resetAt, now)
  }
  if (view.tokens !== null) {
    headers["x-ratelimit-limit-tokens"] = String(view.tokens.limit)
    headers["x-ratelimit-remaining-tokens"] = String(view.tokens.remaining)
    headers["x-ratelimit-reset-tokens"] = untilReset(view.tokens.resetAt, now)
  }
  return headers
}
