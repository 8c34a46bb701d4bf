/**
 * What is kept of models at providers, as many as fit: the longest unused is forgotten first.
 *
 * Found without a string being built of both names, since every request looks here several times.
 *
 * @since 0.1.0
 */

/** One model at a provider. @category models @since 0.1.0 */
export interface Kept<A> {
  readonly provider: string
  readonly model: string
  readonly value: A
}

/** One place in the order of use. */
interface Place<A> extends Kept<A> {
  older: Place<A> | null
  newer: Place<A> | null
}

/** @category models @since 0.1.0 */
export class RecentModels<A> {
  private readonly places = new Map<string, Map<string, Place<A>>>()
  private readonly most: number
  private readonly fresh: () => A
  private oldest: Place<A> | null = null
  private newest: Place<A> | null = null
  private size = 0

  constructor(most: number, fresh: () => A) {
    this.most = most
    this.fresh = fresh
  }

  get(provider: string, model: string): A | undefined {
    return this.places.get(provider)?.get(model)?.value
  }

  /** The value of a model, used last now. */
  use(provider: string, model: string): A {
    const known = this.places.get(provider)?.get(model)
    if (known === undefined) return this.add(provider, model)
    if (known !== this.newest) {
      this.takeOut(known)
      this.append(known)
    }
    return known.value
  }

  /** The longest unused first. */
  all(): ReadonlyArray<Kept<A>> {
    const all: Array<Kept<A>> = []
    for (let place = this.oldest; place !== null; place = place.newer) all.push(place)
    return all
  }

  private add(provider: string, model: string): A {
    const place: Place<A> = { provider, model, value: this.fresh(), older: null, newer: null }
    const models = this.places.get(provider)
    if (models === undefined) this.places.set(provider, new Map([[model, place]]))
    else models.set(model, place)
    this.append(place)
    if (this.size++ >= this.most) this.forgetOldest()
    return place.value
  }

  private forgetOldest(): void {
    const { oldest } = this
    if (oldest === null) return
    this.takeOut(oldest)
    this.size--
    const models = this.places.get(oldest.provider)
    models?.delete(oldest.model)
    if (models?.size === 0) this.places.delete(oldest.provider)
  }

  private append(place: Place<A>): void {
    place.older = this.newest
    place.newer = null
    if (this.newest === null) this.oldest = place
    else this.newest.newer = place
    this.newest = place
  }

  private takeOut(place: Place<A>): void {
    if (place.older === null) this.oldest = place.newer
    else place.older.newer = place.newer
    if (place.newer === null) this.newest = place.older
    else place.newer.older = place.older
  }
}
