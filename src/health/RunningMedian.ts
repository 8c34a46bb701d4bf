/**
 * The median of the latest figures, kept in order so that to read it costs nothing.
 *
 * @since 0.1.0
 */

/** Latest figures that a median is taken from; fewer than the least say nothing. */
const FIGURES = 65
const LEAST = 3

/** @category models @since 0.1.0 */
export class RunningMedian {
  /** The figures as they came, in a ring, and when; made with the first of them. */
  private values: Float64Array | null = null
  private ats = new Float64Array(0)
  /** The same figures, the smallest first. */
  private sorted = new Float64Array(0)
  private first = 0
  private count = 0

  add(at: number, value: number): void {
    if (this.values === null) {
      this.values = new Float64Array(FIGURES)
      this.ats = new Float64Array(FIGURES)
      this.sorted = new Float64Array(FIGURES)
    }
    if (this.count === FIGURES) this.forgetOldest()
    const place = (this.first + this.count) % FIGURES
    this.values[place] = value
    this.ats[place] = at
    const before = this.placeOf(value)
    this.sorted.copyWithin(before + 1, before, this.count)
    this.sorted[before] = value
    this.count++
  }

  /** Of figures that are not older than the window; null where there are too few. */
  read(now: number, windowMs: number): number | null {
    while (this.count > 0 && (this.ats[this.first] ?? 0) <= now - windowMs) this.forgetOldest()
    return this.count < LEAST ? null : (this.sorted[Math.floor((this.count - 1) / 2)] ?? null)
  }

  private forgetOldest(): void {
    const place = this.placeOf(this.values?.[this.first] ?? 0)
    this.sorted.copyWithin(place, place + 1, this.count)
    this.first = (this.first + 1) % FIGURES
    this.count--
  }

  /** Where a figure stands, or would stand, among the sorted. */
  private placeOf(value: number): number {
    let from = 0
    let to = this.count
    while (from < to) {
      const middle = (from + to) >>> 1
      if ((this.sorted[middle] ?? 0) < value) from = middle + 1
      else to = middle
    }
    return from
  }
}
