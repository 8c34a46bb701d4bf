/**
 * What somebody may have meant by a name that does not exist.
 *
 * @since 0.1.0
 */

/** Letters to add, take away or change between two words. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** The closest of some names; null where none is close. @category accessors @since 0.1.0 */
export const nearest = (name: string, names: ReadonlyArray<string>): string | null => {
  const sorted = names.map((each) => ({ each, far: distance(name, each) })).sort((a, b) => a.far - b.far)
  const [first] = sorted
  return first !== undefined && first.far <= Math.max(name.length > 3 ? 2 : 1, Math.floor(name.length / 3)) ? first.each : null
}
