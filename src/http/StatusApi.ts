/**
 * The status page as JSON, for everybody, and incidents for the operator; described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { Incident } from "../../schemas/Health.ts"
import { failures, json, listOf, PageQuery, Row } from "./ApiShapes.ts"

const { error: _, ...shown } = Incident.fields

/** An incident as everybody may see it: how the provider failed is the operator's to know. @category schemas @since 0.1.0 */
export const PublicIncident = Schema.Struct(shown).annotate({ identifier: "PublicIncident" })

/** `POST /admin/health/probes`: a model at one provider, or at all of its active ones. @category schemas @since 0.1.0 */
export const ProbeRequest = Schema.Struct({ model: Schema.String, provider: Schema.optional(Schema.NullOr(Schema.String)) })

const IncidentFilter = {
  ...PageQuery,
  status: Schema.optional(Schema.Literals(["open", "resolved"])),
  provider: Schema.optional(Schema.String),
  model: Schema.optional(Schema.String)
}

/** How far back, in days. */
const Days = Schema.optional(Schema.String)

/** @category models @since 0.1.0 */
export const StatusApi = HttpApiGroup.make("status").add(
  HttpApiEndpoint.get("status", "/v1/status", { ...json }),
  HttpApiEndpoint.get("statusProviders", "/v1/status/providers", { query: PageQuery, success: listOf(Row), error: failures }),
  HttpApiEndpoint.get("statusModels", "/v1/status/models", { query: PageQuery, success: listOf(Row), error: failures }),
  HttpApiEndpoint.get("statusIncidents", "/v1/status/incidents", {
    query: IncidentFilter,
    success: listOf(PublicIncident),
    error: failures
  }),
  HttpApiEndpoint.get("statusUptimes", "/v1/status/uptime", {
    query: { ...PageQuery, days: Days, group_by: Schema.optional(Schema.String) },
    success: listOf(Row),
    error: failures
  }),
  HttpApiEndpoint.get("statusUptime", "/v1/status/uptime/:provider/*", {
    params: { provider: Schema.String, "*": Schema.optional(Schema.String) },
    query: { days: Days, interval: Schema.optional(Schema.String) },
    ...json
  }),
  HttpApiEndpoint.get("incidents", "/admin/incidents", { query: IncidentFilter, success: listOf(Incident), error: failures }),
  HttpApiEndpoint.get("providersForOperator", "/admin/providers", { success: listOf(Row), error: failures }),
  HttpApiEndpoint.post("probe", "/admin/health/probes", { payload: ProbeRequest, success: listOf(Row), error: failures })
)
