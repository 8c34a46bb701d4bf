/**
 * A Set for what comes and goes with every request.
 *
 * The tables that a Set or a Map has grown out of lead from each to the next, for iterators' sake. Once one of them has lived long
 * enough to be collected seldom, every later one, and with it everything that stood in it, outlives the collections of what is
 * young: half of what a request allocates was copied twice. A Set that is young itself ends the chain.
 *
 * @since 0.1.0
 */

/** After how many that came the Set is made anew. @category constants @since 0.1.0 */
export const OFTEN = 256

/** @category models @since 0.1.0 */
export class YoungSet<A> {
  private members = new Set<A>()
  private came = 0

  get size(): number {
    return this.members.size
  }

  add(member: A): void {
    if (++this.came % OFTEN === 0) this.members = new Set(this.members)
    this.members.add(member)
  }

  delete(member: A): void {
    this.members.delete(member)
  }

  /** Who comes or goes meanwhile may be met or not. */
  forEach(act: (member: A) => void): void {
    this.members.forEach(act)
  }
}
