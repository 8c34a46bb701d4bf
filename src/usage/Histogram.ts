/**
 * Times counted in buckets that are some three hundredths wide, so that sums of many hours still give their percentiles.
 *
 * @since 0.1.0
 */

/** Counts by bucket. @category models @since 0.1.0 */
export type Histogram = Readonly<Record<string, number>>

/** Buckets of one power of two; below it a bucket is one millisecond. */
const FINENESS = 32

/** The bucket of a time in whole milliseconds: its middle. @category constructors @since 0.1.0 */
export const bucketOf = (ms: number): number => {
  const value = Math.max(0, Math.min(Math.round(ms), 2 ** 30))
  if (value < FINENESS) return value
  const width = 2 ** (Math.floor(Math.log2(value)) - Math.log2(FINENESS))
  return Math.floor(value / width) * width + Math.floor(width / 2)
}

/** @category combinators @since 0.1.0 */
export const merge = (histograms: Iterable<Histogram>): Histogram => {
  const all: Record<string, number> = {}
  for (const histogram of histograms) {
    for (const [bucket, count] of Object.entries(histogram)) all[bucket] = (all[bucket] ?? 0) + count
  }
  return all
}

/** The times below which the given parts of all lie, between two as Postgres's `percentile_cont` has it; null where there are none. @category accessors @since 0.1.0 */
export const percentiles = (histogram: Histogram, parts: ReadonlyArray<number>): ReadonlyArray<number | null> => {
  const buckets = Object.entries(histogram)
    .map(([bucket, count]) => [Number(bucket), count] as const)
    .sort(([a], [b]) => a - b)
  const total = buckets.reduce((sum, [, count]) => sum + count, 0)
  if (total === 0) return parts.map(() => null)
  const at = (rank: number): number => {
    let seen = 0
    for (const [bucket, count] of buckets) {
      seen += count
      if (seen > rank) return bucket
    }
    return buckets.at(-1)?.[0] ?? 0
  }
  return parts.map((part) => {
    const rank = part * (total - 1)
    const [low, high] = [at(Math.floor(rank)), at(Math.ceil(rank))]
    return Math.round(low + (high - low) * (rank - Math.floor(rank)))
  })
}
