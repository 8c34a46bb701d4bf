/**
 * What a request used, in disjoint classes: no token is counted twice.
 *
 * @since 0.1.0
 */

/** Counts of one request. `input` excludes cached reads and cache writes; `output` excludes reasoning. @category models @since 0.1.0 */
export interface Usage {
  readonly input: number
  readonly cachedRead: number
  readonly cacheWrite: number
  readonly output: number
  readonly reasoning: number
  /** Images made, each times what its size makes of the price: a multiple of a quarter. */
  readonly images: number
  readonly audioSeconds: number
  /** `estimated`: the provider gave no usage and tokens were counted as characters / 4. */
  readonly source: "provider" | "estimated"
}

/** Nothing used. @category constructors @since 0.1.0 */
export const none: Usage = {
  input: 0,
  cachedRead: 0,
  cacheWrite: 0,
  output: 0,
  reasoning: 0,
  images: 0,
  audioSeconds: 0,
  source: "estimated"
}

/** Tokens in a text of that many characters: characters / 4, rounded up; empty text has none. @category estimation @since 0.1.0 */
export const estimateTokens = (characters: number): number => Math.ceil(characters / 4)

/** Every token, read and written. @category accessors @since 0.1.0 */
export const totalTokens = (usage: Usage): number => usage.input + usage.cachedRead + usage.cacheWrite + usage.output + usage.reasoning
