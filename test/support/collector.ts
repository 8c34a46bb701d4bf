/**
 * What telemetry is sent to: a server that keeps the bodies that came, by path.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { gunzipSync } from "node:zlib"

export interface Received {
  readonly path: string
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string
}

export interface Collector {
  readonly url: string
  readonly received: () => ReadonlyArray<Received>
  readonly close: () => Promise<void>
}

export const startCollector = async (): Promise<Collector> => {
  const received: Array<Received> = []
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const bytes = Buffer.concat(chunks)
      const body = (request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString("utf8")
      received.push({ path: request.url ?? "", headers: request.headers, body })
      response.writeHead(200, { "content-type": "application/json" })
      response.end("{}")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? (address satisfies AddressInfo).port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    received: () => received,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

interface Value {
  readonly stringValue?: string
  readonly intValue?: string | number
  readonly doubleValue?: number
  readonly boolValue?: boolean
  readonly arrayValue?: { readonly values: ReadonlyArray<Value> }
}

interface Attribute {
  readonly key: string
  readonly value: Value
}

const plain = (value: Value): unknown =>
  value.arrayValue === undefined
    ? (value.stringValue ?? (value.intValue === undefined ? (value.doubleValue ?? value.boolValue) : Number(value.intValue)))
    : value.arrayValue.values.map(plain)

const toRecord = (attributes: ReadonlyArray<Attribute> = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]))

interface WireSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly status: { readonly code: number; readonly message?: string }
}

export interface Span extends Omit<WireSpan, "attributes"> {
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
}

/** Every span that came, as JSON. */
export const spansOf = (collector: Collector): ReadonlyArray<Span> =>
  collector
    .received()
    .filter(({ path }) => path === "/v1/traces")
    .flatMap(({ body }) => {
      const sent: {
        resourceSpans: ReadonlyArray<{
          resource: { attributes: ReadonlyArray<Attribute> }
          scopeSpans: ReadonlyArray<{ spans: ReadonlyArray<WireSpan> }>
        }>
      } = JSON.parse(body)
      return sent.resourceSpans.flatMap(({ resource, scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) =>
          spans.map((span) => ({ ...span, attributes: toRecord(span.attributes), resource: toRecord(resource.attributes) }))
        )
      )
    })

export interface LogRecord {
  readonly traceId?: string
  readonly spanId?: string
  readonly severityText: string
  readonly body: Value
  readonly attributes: Readonly<Record<string, unknown>>
}

export const logsOf = (collector: Collector): ReadonlyArray<LogRecord> =>
  collector
    .received()
    .filter(({ path }) => path === "/v1/logs")
    .flatMap(({ body }) => {
      const sent: {
        resourceLogs: ReadonlyArray<{
          scopeLogs: ReadonlyArray<{
            logRecords: ReadonlyArray<Omit<LogRecord, "attributes"> & { readonly attributes: ReadonlyArray<Attribute> }>
          }>
        }>
      } = JSON.parse(body)
      return sent.resourceLogs.flatMap(({ scopeLogs }) =>
        scopeLogs.flatMap(({ logRecords }) => logRecords.map((record) => ({ ...record, attributes: toRecord(record.attributes) })))
      )
    })

/** The names of the metrics that came. */
export const metricNamesOf = (collector: Collector): ReadonlySet<string> =>
  new Set(
    collector
      .received()
      .filter(({ path }) => path === "/v1/metrics")
      .flatMap(({ body }) => {
        const sent: {
          resourceMetrics: ReadonlyArray<{ scopeMetrics: ReadonlyArray<{ metrics: ReadonlyArray<{ name: string }> }> }>
        } = JSON.parse(body)
        return sent.resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics.map(({ name }) => name)))
      })
  )

/** The events of the envelopes that came: each item after its header line. */
export const eventsOf = (
  collector: Collector
): ReadonlyArray<{ readonly tags?: Record<string, string>; readonly [name: string]: unknown }> =>
  collector
    .received()
    .filter(({ path }) => path.includes("/envelope/"))
    .flatMap(({ body }) => {
      const [, ...lines] = body.split("\n")
      return lines.flatMap((line, at) => (line !== "" && JSON.parse(line).type === "event" ? [JSON.parse(lines[at + 1] ?? "{}")] : []))
    })
