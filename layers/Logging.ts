/**
 * The log: JSON lines for machines, with the request's id and its trace, or pretty ones on a terminal. No secrets in either.
 *
 * @since 0.1.0
 */
import { Formatter, Layer, Logger, References } from "effect"
import { redactValue } from "../src/telemetry/Redaction.ts"
import type { Settings } from "./Settings.ts"

const json = Logger.withConsoleLog(
  Logger.make<unknown, string>((options) => {
    const { annotations, ...record } = Logger.formatStructured.log(options)
    const { request_id, ...others } = annotations
    const span = options.fiber.cache.span
    return Formatter.formatJson(
      redactValue({
        ...record,
        ...(request_id === undefined ? {} : { request_id }),
        ...(span === undefined ? {} : { trace_id: span.traceId, span_id: span.spanId }),
        annotations: others
      })
    )
  })
)

const pretty = (): Logger.Logger<unknown, void> => {
  const shown = Logger.consolePretty()
  const clean = (message: unknown) => (message instanceof Error ? message : redactValue(message))
  return Logger.make((options) =>
    shown.log({ ...options, message: Array.isArray(options.message) ? options.message.map(clean) : clean(options.message) })
  )
}

/** @category layers @since 0.1.0 */
export const layer = (settings: Settings, isTerminal: boolean) =>
  Layer.mergeAll(
    Logger.layer([settings.logFormat === "pretty" || (settings.logFormat === null && isTerminal) ? pretty() : json]),
    Layer.succeed(References.MinimumLogLevel, settings.logLevel)
  )
