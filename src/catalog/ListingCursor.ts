/**
 * Where a page of the list of models ended: after which model, not after how many, so that models may come and go between two
 * pages and none is given twice or left out. Pure.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import { Base64Url } from "effect/encoding"
import * as Json from "../../schemas/Json.ts"

/** What lists may be ordered by; whatever has no such figure comes last. @category data @since 0.1.0 */
export const sorts = ["id", "price", "context_length", "downloads", "likes"] as const

/** @category models @since 0.1.0 */
export type Sort = (typeof sorts)[number]

/** The place of a model in a list: by a figure, then by its id. @category models @since 0.1.0 */
export interface Place {
  /** Null: it has none. */
  readonly value: number | null
  readonly id: string
}

/** @category models @since 0.1.0 */
export interface ListingCursor extends Place {
  readonly sort: Sort
  /** Providers of the last model that were given already, where each is a row of its own. */
  readonly given: ReadonlyArray<string>
}

const orEnd = (value: number | null): number => value ?? Number.POSITIVE_INFINITY

/** Below zero: `a` comes before `b`. @category ordering @since 0.1.0 */
export const compare = (a: Place, b: Place): number => {
  const [one, other] = [orEnd(a.value), orEnd(b.value)]
  if (one !== other) return one < other ? -1 : 1
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}

/** @category encoding @since 0.1.0 */
export const encode = ({ given, id, sort, value }: ListingCursor): string => Base64Url.encode(JSON.stringify([sort, value, id, ...given]))

/** Characters of a cursor, at most. */
const MAX = 4_096

/** Null where the text is no cursor of ours. @category parsers @since 0.1.0 */
export const decode = (text: string): ListingCursor | null => {
  const decoded = text.length > MAX ? null : Result.getOrNull(Base64Url.decodeString(text))
  const parts = decoded === null ? undefined : Json.parse(decoded)
  if (!Json.isArray(parts)) return null
  const [named, value, id, ...given] = parts
  const sort = sorts.find((candidate) => candidate === named)
  if (sort === undefined || typeof id !== "string" || (value !== null && typeof value !== "number")) return null
  const slugs = given.flatMap((slug) => (typeof slug === "string" ? [slug] : []))
  return slugs.length === given.length ? { sort, value: value ?? null, id, given: slugs } : null
}
