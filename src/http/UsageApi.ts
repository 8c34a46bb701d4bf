/**
 * The routes of requests and usage, described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { RequestRow } from "../usage/RequestRow.ts"
import { ById, failures, listOf, PageQuery, Row } from "./ApiShapes.ts"

/** `from` and `to`: dates or times of ISO-8601. @category schemas @since 0.1.0 */
const Range = { from: Schema.optional(Schema.String), to: Schema.optional(Schema.String) }

/** @category models @since 0.1.0 */
export const UsageApi = HttpApiGroup.make("usage").add(
  HttpApiEndpoint.get("requests", "/v1/requests", {
    query: {
      ...PageQuery,
      ...Range,
      model: Schema.optional(Schema.String),
      provider: Schema.optional(Schema.String),
      outcome: Schema.optional(Schema.String),
      status: Schema.optional(Schema.String),
      key: Schema.optional(Schema.String)
    },
    success: listOf(RequestRow),
    error: failures
  }),
  HttpApiEndpoint.get("request", "/v1/requests/:id", { params: ById, success: RequestRow, error: failures }),
  HttpApiEndpoint.get("usage", "/v1/usage", {
    query: {
      ...Range,
      group_by: Schema.optional(Schema.String),
      model: Schema.optional(Schema.String),
      key: Schema.optional(Schema.String),
      format: Schema.optional(Schema.String)
    },
    success: listOf(Row),
    error: failures
  })
)
