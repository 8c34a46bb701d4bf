/**
 * The routes of the catalog.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { ById, failures, json, listOf, PageQuery, Row } from "./ApiShapes.ts"

/** `POST /admin/catalog/sync`: one provider, or every active one. @category schemas @since 0.1.0 */
export const SyncRequest = Schema.Struct({ provider: Schema.optional(Schema.NullOr(Schema.String)) })

/** @category models @since 0.1.0 */
export const CatalogApi = HttpApiGroup.make("catalog").add(
  HttpApiEndpoint.get("models", "/v1/models", {
    query: {
      ...PageQuery,
      view: Schema.optional(Schema.String),
      provider: Schema.optional(Schema.String),
      modality: Schema.optional(Schema.String),
      q: Schema.optional(Schema.String),
      active: Schema.optional(Schema.String),
      sort: Schema.optional(Schema.String),
      include_huggingface: Schema.optional(Schema.String)
    },
    success: listOf(Row),
    error: failures
  }),
  HttpApiEndpoint.get("model", "/v1/models/:org/:name", { params: { org: Schema.String, name: Schema.String }, ...json }),
  HttpApiEndpoint.get("modelByName", "/v1/models/:id", { params: ById, ...json }),
  // Names with more slashes than one, such as a provider's own.
  HttpApiEndpoint.get("modelByPath", "/v1/models/:org/:name/:more/*", {
    params: { org: Schema.String, name: Schema.String, more: Schema.String, "*": Schema.optional(Schema.String) },
    ...json
  }).annotate(OpenApi.Exclude, true),
  HttpApiEndpoint.get("compareModels", "/v1/models/compare", { query: { ids: Schema.optional(Schema.String) }, ...json }),
  HttpApiEndpoint.get("trendingModels", "/v1/models/trending", { query: PageQuery, success: listOf(Row), error: failures }),
  HttpApiEndpoint.get("lowLatencyModels", "/v1/models/low-latency", { query: PageQuery, success: listOf(Row), error: failures }),
  HttpApiEndpoint.get("providers", "/v1/providers", { query: PageQuery, success: listOf(Row), error: failures }),
  HttpApiEndpoint.post("syncCatalog", "/admin/catalog/sync", {
    payload: Schema.UndefinedOr(SyncRequest),
    success: listOf(Row),
    error: failures
  }),
  HttpApiEndpoint.post("syncHub", "/admin/catalog/huggingface", { success: listOf(Row), error: failures })
)
