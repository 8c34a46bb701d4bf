/**
 * What providers of every protocol say was used, and whether it can be believed.
 *
 * @since 0.1.0
 */
import type * as Json from "../../../schemas/Json.ts"
import type { Usage } from "../../../schemas/Usage.ts"

/** More of anything is no figure of one request. */
const MOST = 1_000_000_000_000

const isCredible = (value: number): boolean => value >= 0 && value <= MOST

/** A figure without its fraction: nothing where it is left out, `NaN` where it is no number. @category decoding @since 0.1.0 */
export const figure = (value: Json.Json | undefined): number =>
  value === undefined || value === null ? 0 : typeof value === "number" ? Math.floor(value) : Number.NaN

/**
 * Figures that can be: null where one is no number, below zero or absurd. Who gives one such is not believed the others either,
 * and what was used is estimated.
 *
 * @category validation
 * @since 0.1.0
 */
export const credible = (usage: Usage): Usage | null => {
  const { audioSeconds, cachedRead, cacheWrite, images, input, output, reasoning } = usage
  const isWhole = isCredible(input) && isCredible(cachedRead) && isCredible(cacheWrite) && isCredible(output) && isCredible(reasoning)
  return isWhole && isCredible(images) && isCredible(audioSeconds) ? usage : null
}
