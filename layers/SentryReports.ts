/**
 * Errors that nobody expected, to a tracker that speaks Sentry's protocol: each once, without secrets, few a minute, and
 * never waited for.
 *
 * @since 0.1.0
 */
import { createStackParser, createTransport, type ErrorEvent, Scope as SentryScope, type Transport } from "@sentry/core"
import { nodeStackLineParser, ServerRuntimeClient } from "@sentry/core/server"
import { Effect, ErrorReporter, Layer, Logger, Redacted, References } from "effect"
import { redact, redactValue } from "../src/telemetry/Redaction.ts"

/** @category models @since 0.1.0 */
export interface SentryOptions {
  readonly dsn: Redacted.Redacted
  readonly version: string
}

/** Reports within a minute, at most: what happens a thousand times is known after a few. */
const MOST = 30
const MINUTE = 60_000
/** Milliseconds that one report may take, and all that are under way when the process ends. */
const PATIENCE = 5_000
const LAST = 2_000

const transport = (options: Parameters<typeof createTransport>[0] & { readonly url: string }): Transport =>
  createTransport(options, async ({ body }) => {
    const response = await fetch(options.url, {
      method: "POST",
      headers: { "content-type": "application/x-sentry-envelope" },
      body: typeof body === "string" ? body : new Uint8Array(body),
      signal: AbortSignal.timeout(PATIENCE)
    })
    await response.arrayBuffer()
    return {
      statusCode: response.status,
      headers: {
        "retry-after": response.headers.get("retry-after"),
        "x-sentry-rate-limits": response.headers.get("x-sentry-rate-limits")
      }
    }
  })

const clean = (event: ErrorEvent): ErrorEvent => {
  for (const exception of event.exception?.values ?? []) {
    if (exception.value !== undefined) exception.value = redact(exception.value)
  }
  if (event.message !== undefined) event.message = redact(event.message)
  return event
}

const makeClient = ({ dsn, version }: SentryOptions) => {
  const client = new ServerRuntimeClient({
    dsn: Redacted.value(dsn),
    release: `sluice@${version}`,
    platform: "node",
    runtime: { name: "node", version: process.version },
    integrations: [],
    stackParser: createStackParser(nodeStackLineParser()),
    transport,
    beforeSend: clean
  })
  client.init()
  return client
}

/** Says yes so many times a minute. */
const makeAllowance = () => {
  let since = 0
  let count = 0
  return (now: number): boolean => {
    if (now - since >= MINUTE) {
      since = now
      count = 0
    }
    return ++count <= MOST
  }
}

const makeReporter = (client: ReturnType<typeof makeClient>): ErrorReporter.ErrorReporter => {
  const isAllowed = makeAllowance()
  return ErrorReporter.make(({ attributes, error, fiber, timestamp }) => {
    if (!isAllowed(Number(timestamp / 1_000_000n))) return
    const scope = new SentryScope()
    const { request_id, ...annotations } = fiber.getRef(References.CurrentLogAnnotations)
    const span = fiber.cache.span
    if (typeof request_id === "string") scope.setTag("request_id", request_id)
    if (span !== undefined) scope.setTag("trace_id", span.traceId)
    scope.setExtra("annotations", redactValue({ ...annotations, ...attributes }))
    client.captureException(error, undefined, scope)
  })
}

/** Whatever is logged as an error with its cause has been expected by nobody. */
const fromLog = (reporter: ErrorReporter.ErrorReporter) =>
  Logger.make<unknown, void>(({ cause, date, fiber, logLevel }) => {
    if ((logLevel !== "Error" && logLevel !== "Fatal") || cause.reasons.length === 0) return
    reporter.report({ cause, fiber, timestamp: BigInt(date.getTime()) * 1_000_000n })
  })

/** @category layers @since 0.1.0 */
export const layer = (options: SentryOptions) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => makeClient(options)),
        (made) => Effect.promise(() => Promise.resolve(made.close(LAST)))
      )
      const reporter = makeReporter(client)
      return Layer.mergeAll(ErrorReporter.layer([reporter]), Logger.layer([fromLog(reporter)], { mergeWithExisting: true }))
    })
  )
