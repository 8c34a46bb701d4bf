/**
 * What the descriptions of routes share: errors, lists, pages and ids.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** The body of every error outside `/v1/messages`. @category schemas @since 0.1.0 */
export const ErrorBody = Schema.Struct({
  error: Schema.Struct({ message: Schema.String, type: Schema.String, code: Schema.String, param: Schema.NullOr(Schema.String) })
}).annotate({ identifier: "Error" })

/** Every status that an error may have. @category schemas @since 0.1.0 */
export const statuses = [400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504]

/** @category schemas @since 0.1.0 */
export const failures = statuses.map((status) => ErrorBody.annotate({ httpApiStatus: status }))

/** @category schemas @since 0.1.0 */
export const listOf = <S extends Schema.Top>(row: S) =>
  Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(row), next_cursor: Schema.NullOr(Schema.String) })

/** `limit` 1 to 1,000, `cursor` as the page before gave it. @category schemas @since 0.1.0 */
export const PageQuery = { limit: Schema.optional(Schema.String), cursor: Schema.optional(Schema.String) }

/** @category schemas @since 0.1.0 */
export const Row = Schema.Record(Schema.String, Schema.Unknown)

/** @category schemas @since 0.1.0 */
export const ById = { id: Schema.String }

/** An object, or an error. @category schemas @since 0.1.0 */
export const json = { success: Row, error: failures }
