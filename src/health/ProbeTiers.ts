/**
 * How often a model is probed: the more it is used, the sooner its trouble is found. Pure.
 *
 * @since 0.1.0
 */

/** `on_demand`: nobody used it lately; it is probed when somebody asks. @category models @since 0.1.0 */
export type Tier = "critical" | "popular" | "standard" | "on_demand"

/** Times are milliseconds. @category models @since 0.1.0 */
export interface TierRule {
  /** From one probe to the next, at least and at most: those of a tier are spread between. Null: none by itself. */
  readonly every: readonly [least: number, most: number] | null
  readonly timeoutMs: number
  readonly maxTokens: number
}

/** @category models @since 0.1.0 */
export const tiers: Readonly<Record<Tier, TierRule>> = {
  critical: { every: [300_000, 300_000], timeoutMs: 30_000, maxTokens: 10 },
  popular: { every: [1_800_000, 1_800_000], timeoutMs: 45_000, maxTokens: 10 },
  standard: { every: [7_200_000, 14_400_000], timeoutMs: 60_000, maxTokens: 5 },
  on_demand: { every: null, timeoutMs: 60_000, maxTokens: 5 }
}

const CRITICAL_SHARE = 0.05
const POPULAR_SHARE = 0.25

/**
 * The tier of each model that was used: the first twentieth by requests, at least one, then up to a quarter, then the rest.
 *
 * @category policies
 * @since 0.1.0
 */
export const tiersOf = (requests: ReadonlyMap<string, number>): ReadonlyMap<string, Tier> => {
  const used = [...requests].filter(([, count]) => count > 0).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  const critical = Math.max(1, Math.floor(used.length * CRITICAL_SHARE))
  const popular = Math.max(critical, Math.floor(used.length * POPULAR_SHARE))
  return new Map(used.map(([model], place) => [model, place < critical ? "critical" : place < popular ? "popular" : "standard"]))
}

/** A number from 0 to 1 that belongs to a text. */
const spread = (text: string): number => {
  let hash = 2_166_136_261
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16_777_619) >>> 0
  return hash / 4_294_967_295
}

/**
 * From one probe of a model at a provider to the next; null: none by itself. While it is in trouble it is watched as closely
 * as a critical one, so that its recovery is seen.
 *
 * @category policies
 * @since 0.1.0
 */
export const intervalOf = (tier: Tier, provider: string, model: string, isInTrouble: boolean): number | null => {
  const { every } = tiers[tier]
  if (every === null) return null
  const [least, most] = every
  const interval = Math.round(least + (most - least) * spread(`${provider} ${model}`))
  return isInTrouble ? Math.min(interval, tiers.critical.every?.[0] ?? interval) : interval
}
