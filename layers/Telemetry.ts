/**
 * Traces, metrics and logs by OTLP, and errors to a tracker that speaks Sentry's protocol. Nothing of it exists unless a
 * setting asks for it.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import { Duration, Effect, Exit, Layer, Logger, Option, Redacted, Tracer } from "effect"
import { FetchHttpClient, HttpMiddleware } from "effect/http"
import { OtlpExporter, OtlpLogger, OtlpMetrics, OtlpSerialization, OtlpTracer } from "effect/observability"
import * as RouteTemplates from "../src/http/RouteTemplates.ts"
import { CapturedContent } from "../src/providers/AttemptSpan.ts"
import { redact, redactCause, redactValue } from "../src/telemetry/Redaction.ts"
import * as SentryReports from "./SentryReports.ts"
import type { OtlpSettings, SamplerSettings, TelemetrySettings } from "./TelemetrySettings.ts"

/** Milliseconds that a collector may take; what it does not take by then is given up for a while. */
const PATIENCE = 10_000

/** The same trace is kept or not wherever it passes: its id decides. */
const isWithin = (traceId: string, ratio: number): boolean => Number.parseInt(traceId.slice(-13), 16) < ratio * 2 ** 52

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

/** Whether a span is kept. A trace begins with a request: what the house does by itself is none. */
const isKept = (sampler: SamplerSettings, { kind, parent }: SpanOptions): boolean => {
  if (Option.isNone(parent)) return kind === "server" && Math.random() < sampler.ratio
  const { _tag, sampled, traceId } = parent.value
  return _tag === "Span" || sampler.parentBased ? sampled : isWithin(traceId, sampler.ratio)
}

/** A tracer that keeps what the sampler says, and whose spans end without secrets. */
const careful = (sampler: SamplerSettings, tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    span: (options) => {
      const span = tracer.span({ ...options, sampled: isKept(sampler, options) })
      const end = span.end.bind(span)
      span.end = (time, exit) => end(time, Exit.isFailure(exit) ? Exit.failCause(redactCause(exit.cause)) : exit)
      return span
    }
  })

const withoutSecrets = (logger: Logger.Logger<unknown, void>): Logger.Logger<unknown, void> =>
  Logger.make((options) => logger.log({ ...options, message: redactValue(options.message), cause: redactCause(options.cause) }))

/** A collector that does not answer holds nothing up. */
const impatient: typeof globalThis.fetch = (input, init) => {
  const patience = AbortSignal.timeout(PATIENCE)
  return fetch(input, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, patience]) : patience })
}

const client = FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, impatient)))

const otlp = (settings: OtlpSettings, version: string) => {
  const to = (signal: string) => `${settings.endpoint.replace(/\/+$/, "")}/v1/${signal}`
  const common = {
    resource: {
      ...(settings.serviceName === null ? {} : { serviceName: settings.serviceName }),
      serviceVersion: version,
      // Several processes count side by side: their series must not be taken for one another.
      attributes: { "service.instance.id": randomUUID() }
    },
    headers: Object.fromEntries(Object.entries(settings.headers).map(([name, value]) => [name, Redacted.value(value)])),
    shutdownTimeout: Duration.seconds(3)
  }
  const traces = Layer.effect(
    Tracer.Tracer,
    Effect.map(OtlpTracer.make({ ...common, url: to("traces"), exportInterval: settings.traceIntervalMs }), (tracer) =>
      careful(settings.sampler, tracer)
    )
  )
  const metrics = OtlpMetrics.layer({ ...common, url: to("metrics"), exportInterval: settings.metricIntervalMs })
  const logger = OtlpLogger.make({ ...common, url: to("logs"), exportInterval: settings.logIntervalMs, excludeLogSpans: true })
  const logs = Logger.layer([Effect.map(logger, withoutSecrets)], { mergeWithExisting: true })
  const { signals } = settings
  return Layer.mergeAll(
    signals.traces ? traces : Layer.empty,
    signals.metrics ? metrics : Layer.empty,
    signals.logs ? logs : Layer.empty
  ).pipe(
    Layer.provide([
      OtlpExporter.layerFlusher,
      settings.protocol === "http/json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf,
      client
    ])
  )
}

/** Requests are named by their routes. */
const spanNames = Layer.sync(HttpMiddleware.SpanNameGenerator, () => {
  const templateOf = RouteTemplates.make()
  return (request) => {
    const template = templateOf(request.method, request.url.split("?")[0] ?? "")
    return template === RouteTemplates.UNMATCHED ? request.method : `${request.method} ${template}`
  }
})

/** Added to the loggers that there are. @category layers @since 0.1.0 */
export const layer = (settings: TelemetrySettings, version: string) => {
  const exported = settings.otlp === null ? Layer.empty : Layer.mergeAll(otlp(settings.otlp, version), spanNames)
  const content = settings.captureContent ? Layer.succeed(CapturedContent, redact) : Layer.empty
  const reported = settings.sentryDsn === null ? Layer.empty : SentryReports.layer({ dsn: settings.sentryDsn, version })
  return Layer.mergeAll(reported, content).pipe(Layer.provideMerge(exported))
}
