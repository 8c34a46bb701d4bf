/**
 * What `GET /v1/models` asks for.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { ListingPage } from "../catalog/CatalogListing.ts"
import { decode, sorts } from "../catalog/ListingCursor.ts"
import type { ListingQuery } from "../catalog/ModelListing.ts"
import * as ApiError from "./ApiError.ts"
import { badCursor, page } from "./Handled.ts"

/** @category models @since 0.1.0 */
export type Query = Readonly<Record<string, string | undefined>>

/** Characters of words that are looked for. */
const MAX_WORDS = 200

/** `slugOf`: a provider's slug behind one of its names. @category readers @since 0.1.0 */
export const readListing = Effect.fnUntraced(function* (
  query: Query,
  slugOf: (name: string) => string
): Effect.fn.Return<{ readonly wanted: ListingQuery; readonly page: ListingPage }, ApiError.ApiError> {
  const view = query["view"] ?? "unique"
  if (view !== "unique" && view !== "all") return yield* Effect.fail(ApiError.invalid("`view` is `unique` or `all`.", "view"))
  const sort = sorts.find((candidate) => candidate === (query["sort"] ?? "id"))
  if (sort === undefined) return yield* Effect.fail(ApiError.invalid(`\`sort\` is one of ${sorts.join(", ")}.`, "sort"))
  const q = query["q"] ?? null
  if (q !== null && q.length > MAX_WORDS) {
    return yield* Effect.fail(ApiError.invalid(`\`q\` may have ${MAX_WORDS} characters.`, "q", "PARAMETER_OUT_OF_RANGE"))
  }
  const wanted: ListingQuery = {
    view,
    active: query["active"] !== "false",
    provider: query["provider"] === undefined ? null : slugOf(query["provider"]),
    modality: query["modality"] ?? null,
    q,
    sort,
    hub: query["include_huggingface"] === "true"
  }
  // Clients of the plain protocol do not page: without a page asked for, everything is given.
  if (query["limit"] === undefined && query["cursor"] === undefined) return { wanted, page: { after: null, limit: null } }
  const { cursor, limit } = yield* page({ limit: query["limit"], cursor: query["cursor"] }, /./)
  const after = cursor === null ? null : decode(cursor)
  if (cursor !== null && after === null) return yield* Effect.fail(badCursor)
  if (after !== null && after.sort !== sort) {
    return yield* Effect.fail(
      ApiError.invalid(`\`cursor\` is of a list in the order of \`${after.sort}\`; ask for it with the same \`sort\`.`, "cursor")
    )
  }
  return { wanted, page: { after, limit } }
})
