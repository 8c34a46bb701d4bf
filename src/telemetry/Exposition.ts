/**
 * The metrics as Prometheus reads them.
 *
 * @since 0.1.0
 */
import { type Context, Effect } from "effect"
import { PrometheusMetrics } from "effect/observability"

/** Families that are known without the gateway's prefix too, so that dashboards for any gateway find them. */
const customary: ReadonlySet<string> = new Set([
  "cache_hits_total",
  "cache_misses_total",
  "catalog_cache_hits_total",
  "catalog_cache_misses_total",
  "circuit_breaker_current_state",
  "circuit_breaker_failures_total",
  "circuit_breaker_rejected_requests_total",
  "circuit_breaker_state_transitions_total",
  "circuit_breaker_successes_total",
  "code_router_requests_total",
  "concurrency_active_requests",
  "concurrency_queued_requests",
  "concurrency_rejected_total",
  "credits_used_total",
  "database_queries_total",
  "database_query_duration_seconds",
  "free_model_usage_total",
  "gateway_zero_model_events_total",
  "general_router_requests_total",
  "http_request_duration_seconds",
  "http_requests_in_progress",
  "http_requests_total",
  "model_inference_duration_seconds",
  "model_inference_requests_total",
  "provider_slow_requests_total",
  "rate_limited_requests_total",
  "time_to_first_chunk_seconds",
  "tokens_used_total",
  "velocity_mode_activations_total",
  "velocity_mode_active",
  "velocity_mode_duration_seconds"
])

/** Families that are known with the prefix alone. */
const own: ReadonlyArray<string> = [
  "api_cost_usd_total",
  "credit_deduction_total",
  "credit_refunds_amount_usd_total",
  "credit_refunds_total",
  "default_pricing_usage_total",
  "token_count_source_total"
]

const typeOf = (name: string): string => {
  if (name.endsWith("_total")) return "counter"
  if (name === "database_query_duration_seconds") return "summary"
  return name.endsWith("_seconds") ? "histogram" : "gauge"
}

const silentFamily = (called: string, name: string): ReadonlyArray<string> => [
  `# HELP ${called} Nothing was counted yet`,
  `# TYPE ${called} ${typeOf(name)}`
]

const PREFIX = "sluice_"
/** Families of libraries, which say nothing of what they mean. */
const FOREIGN = "effect_"

const nameOf = (line: string): string => /^(?:# (?:HELP|TYPE) )?([A-Za-z_:][\w:]*)/.exec(line)?.[1] ?? ""

/**
 * The metrics of a text, those of customary names under both: a family's lines stand together, so that each is told once. A
 * family of which nothing was counted yet is told of without a value.
 *
 * @category formatting
 * @since 0.1.0
 */
export const withCustomaryNames = (text: string): string => {
  const lines: Array<string> = []
  const also: Array<string> = []
  const silent = new Set([...customary, ...own])
  let family = ""
  for (const line of text.split("\n")) {
    if (line === "") continue
    if (line.startsWith("# ")) family = nameOf(line)
    if (family.startsWith(FOREIGN)) continue
    lines.push(line)
    silent.delete(family.slice(PREFIX.length))
    if (!family.startsWith(PREFIX) || !customary.has(family.slice(PREFIX.length))) continue
    also.push(line.replace(PREFIX, ""))
  }
  for (const name of silent) {
    if (customary.has(name)) also.push(...silentFamily(name, name))
    lines.push(...silentFamily(PREFIX + name, name))
  }
  return [...also, ...lines, ""].join("\n")
}

/** Every metric in Prometheus's text format. @category formatting @since 0.1.0 */
export const format: Effect.Effect<string> = Effect.map(Effect.context<never>(), (context: Context.Context<never>) =>
  withCustomaryNames(PrometheusMetrics.formatUnsafe(context))
)

/** The content type of the text. @category formatting @since 0.1.0 */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
