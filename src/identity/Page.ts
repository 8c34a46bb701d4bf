/**
 * Parts of long lists.
 *
 * @since 0.1.0
 */

/** A page of a list, newest first. @category models @since 0.1.0 */
export interface PageRequest {
  readonly limit: number
  readonly cursor: string | null
}

/** @category models @since 0.1.0 */
export interface Page<A> {
  readonly data: ReadonlyArray<A>
  readonly next: string | null
}
