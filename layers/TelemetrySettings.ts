/**
 * What is told to the outside of how the server is doing: by OTLP, and to an error tracker. The names are OpenTelemetry's own.
 *
 * @since 0.1.0
 */
import { Effect, Redacted } from "effect"
import { oneOf, raw, refuse, secret, url, whole } from "./SettingReaders.ts"

/** Which traces are kept. @category models @since 0.1.0 */
export interface SamplerSettings {
  /** Of traces that begin here. */
  readonly ratio: number
  /** A caller's own decision holds. */
  readonly parentBased: boolean
}

/** Times are milliseconds. @category models @since 0.1.0 */
export interface OtlpSettings {
  readonly endpoint: string
  readonly protocol: "http/protobuf" | "http/json"
  readonly headers: Readonly<Record<string, Redacted.Redacted>>
  /** Null: the resource attributes name it. */
  readonly serviceName: string | null
  readonly sampler: SamplerSettings
  readonly signals: { readonly traces: boolean; readonly metrics: boolean; readonly logs: boolean }
  readonly traceIntervalMs: number
  readonly logIntervalMs: number
  readonly metricIntervalMs: number
}

/** Null: off. @category models @since 0.1.0 */
export interface TelemetrySettings {
  readonly otlp: OtlpSettings | null
  readonly sentryDsn: Redacted.Redacted | null
  /** Whether prompts and answers go along with traces, their secrets and personal data taken out. */
  readonly captureContent: boolean
}

const samplers = [
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
  "always_on",
  "always_off",
  "traceidratio"
] as const

const sampler = Effect.gen(function* () {
  const name = yield* oneOf("OTEL_TRACES_SAMPLER", "parentbased_always_on", samplers)
  const value = yield* raw("OTEL_TRACES_SAMPLER_ARG")
  const argument = value === null ? 1 : Number(value)
  if (!(argument >= 0 && argument <= 1)) return yield* refuse("OTEL_TRACES_SAMPLER_ARG", value ?? "", "a number from 0 to 1")
  const ratio = name.endsWith("traceidratio") ? argument : name.endsWith("always_on") ? 1 : 0
  return { ratio, parentBased: name.startsWith("parentbased") }
})

/** `name=value`, several separated by commas, percent-encoded where need be; the values may be secrets and are not shown. */
const pairs = Effect.fnUntraced(function* (name: string, isSecret: boolean) {
  const value = yield* raw(name, { kind: "pairs", fallback: null, isSecret })
  const found: Record<string, string> = {}
  for (const part of (value ?? "").split(",")) {
    if (part.trim() === "") continue
    const at = part.indexOf("=")
    const key = part.slice(0, at).trim()
    const decoded = Effect.try({ try: () => decodeURIComponent(part.slice(at + 1).trim()), catch: () => null })
    const text = at < 1 ? null : yield* Effect.orElseSucceed(decoded, () => null)
    if (text === null) return yield* refuse(name, "(redacted)", "pairs such as name=value, separated by commas and percent-encoded")
    found[key] = text
  }
  return found
})

const isOn = (signal: string) => Effect.map(oneOf(`OTEL_${signal}_EXPORTER`, "otlp", ["otlp", "none"]), (exporter) => exporter === "otlp")

const otlp = Effect.gen(function* () {
  const endpoint = yield* url("OTEL_EXPORTER_OTLP_ENDPOINT", ["http:", "https:"])
  const isOff = (yield* oneOf("OTEL_SDK_DISABLED", "false", ["true", "false"])) === "true"
  const headers = yield* pairs("OTEL_EXPORTER_OTLP_HEADERS", true)
  const resource = yield* pairs("OTEL_RESOURCE_ATTRIBUTES", false)
  const settings: Omit<OtlpSettings, "endpoint"> = {
    protocol: yield* oneOf("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", ["http/protobuf", "http/json"]),
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Redacted.make(value)])),
    serviceName: (yield* raw("OTEL_SERVICE_NAME")) ?? (resource["service.name"] === undefined ? "sluice" : null),
    sampler: yield* sampler,
    signals: { traces: yield* isOn("TRACES"), metrics: yield* isOn("METRICS"), logs: yield* isOn("LOGS") },
    traceIntervalMs: yield* whole("OTEL_BSP_SCHEDULE_DELAY", 5_000, 10, 3_600_000),
    logIntervalMs: yield* whole("OTEL_BLRP_SCHEDULE_DELAY", 1_000, 10, 3_600_000),
    metricIntervalMs: yield* whole("OTEL_METRIC_EXPORT_INTERVAL", 60_000, 10, 3_600_000)
  }
  return endpoint === null || isOff ? null : { ...settings, endpoint }
})

const sentryDsn = Effect.gen(function* () {
  const dsn = yield* secret("SENTRY_DSN")
  if (dsn === null) return null
  const value = Redacted.value(dsn)
  return /^https?:\/\/\w+(?::\w+)?@[\w.-]+(?::\d+)?\/(?:.+\/)?\d+$/.test(value)
    ? dsn
    : yield* refuse("SENTRY_DSN", "(redacted)", "a DSN such as https://key@errors.example.com/1")
})

/** @category constructors @since 0.1.0 */
export const readTelemetry = Effect.gen(function* () {
  const settings: TelemetrySettings = {
    otlp: yield* otlp,
    sentryDsn: yield* sentryDsn,
    captureContent: (yield* oneOf("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "false", ["true", "false"])) === "true"
  }
  return settings
})
