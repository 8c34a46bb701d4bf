/**
 * Traces, logs and errors as a collector and an error tracker of our own get them from the running server.
 */
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { type Collector, eventsOf, logsOf, metricNamesOf, type Span, spansOf, startCollector } from "../support/collector.ts"
import { eventually, newCustomer, type RunningServer, startServer, temporaryDirectory } from "../support/server.ts"

const SERVER = 2
const CLIENT = 3
const ERROR = 2

/** Breaks whatever writes down a request that says so, as a mistake of ours would. */
const MARKER = "break-something-of-ours"
const breaks = `
const stringify = JSON.stringify
JSON.stringify = (value, ...more) => {
  const text = stringify(value, ...more)
  if (typeof text === "string" && text.includes("${MARKER}") && !text.includes("exception")) {
    const [password, alphabet] = ["hunter2".repeat(2), "abcdefghijklmnop"]
    throw new Error("cannot write it down, password=" + password + ", key sk-proj-" + alphabet + " for Bearer gw_dev_" + alphabet + "qrstuvwx")
  }
  return text
}`

let callers = 0
const newTrace = () => {
  const id = (++callers).toString(16)
  return { traceId: id.padStart(32, "a"), parentId: id.padStart(16, "b") }
}

describe("telemetry", () => {
  const directory = temporaryDirectory()
  let collector: Collector
  let mock: MockProvider
  let server: RunningServer
  let key = ""

  beforeAll(async () => {
    collector = await startCollector()
    mock = await startMockProvider()
    server = await startServer({
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-openai-of-the-tests",
      OPENAI_BASE_URL: mock.url,
      AZURE_OPENAI_API_KEY: "sk-azure-of-the-tests",
      AZURE_OPENAI_BASE_URL: mock.url,
      OPENROUTER_API_KEY: "sk-openrouter-of-the-tests",
      OPENROUTER_BASE_URL: mock.url,
      PROVIDER_FIRST_BYTE_TIMEOUT_MS: "2000",
      LOG_LEVEL: "Debug",
      LOG_FORMAT: "json",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_HEADERS: "x-collector-token=one%20two",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=tests",
      OTEL_BSP_SCHEDULE_DELAY: "50",
      OTEL_BLRP_SCHEDULE_DELAY: "50",
      OTEL_METRIC_EXPORT_INTERVAL: "200",
      OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "true",
      SENTRY_DSN: `${collector.url.replace("://", "://publickey@")}/7`,
      NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(breaks)}`
    })
    key = (await newCustomer(server, { balanceUsd: "10" })).key
  })
  beforeEach(() => mock.reset())
  afterAll(async () => {
    await server?.stop()
    await mock?.close()
    await collector?.close()
    directory.remove()
  })

  const ask = (body: Record<string, unknown>, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
      body: JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "hello" }], ...body })
    })

  /** The spans of a trace, once its server span has come. */
  const traceOf = async (traceId: string): Promise<{ readonly root: Span; readonly spans: ReadonlyArray<Span> }> => {
    let found: { root: Span; spans: ReadonlyArray<Span> } | null = null
    await eventually(() => {
      const spans = spansOf(collector).filter((span) => span.traceId === traceId)
      const root = spans.find((span) => span.kind === SERVER)
      assert.isDefined(root)
      found = { root, spans }
    })
    if (found === null) throw new Error("no trace")
    return found
  }
  const attemptsOf = (spans: ReadonlyArray<Span>) =>
    spans.filter((span) => span.kind === CLIENT && "gen_ai.operation.name" in span.attributes)

  it("CM-13.7 makes one server span a request, under the caller's, with the attempt below it", async () => {
    const { parentId, traceId } = newTrace()
    mock.script({ usage: { prompt_tokens: 123, completion_tokens: 45, total_tokens: 168 } })
    const answer = await ask({ max_tokens: 99 }, { traceparent: `00-${traceId}-${parentId}-01`, "x-request-id": "the-callers-own" })
    assert.strictEqual(answer.status, 200)
    const { root, spans } = await traceOf(traceId)
    assert.strictEqual(spans.filter((span) => span.kind === SERVER).length, 1)
    assert.strictEqual(root.parentSpanId, parentId)
    assert.strictEqual(root.name, "POST /v1/chat/completions")
    assert.deepInclude(root.attributes, {
      "http.request.method": "POST",
      "http.route": "/v1/chat/completions",
      "http.response.status_code": 200,
      "sluice.request_id": answer.headers.get("x-sluice-request-id"),
      "sluice.client_request_id": "the-callers-own"
    })
    assert.deepInclude(root.resource, { "service.name": "sluice", "deployment.environment": "tests" })
    const [attempt, ...others] = attemptsOf(spans)
    assert.isDefined(attempt)
    assert.deepStrictEqual(others, [])
    assert.strictEqual(attempt.parentSpanId, root.spanId)
    assert.strictEqual(attempt.name, "chat gpt-4o")
    assert.deepInclude(attempt.attributes, {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "gpt-4o",
      "gen_ai.request.max_tokens": 99,
      "gen_ai.usage.input_tokens": 123,
      "gen_ai.usage.output_tokens": 45
    })
    assert.deepStrictEqual(attempt.attributes["gen_ai.response.finish_reasons"], ["stop"])
    assert.strictEqual(mock.calls()[0]?.headers["traceparent"], `00-${traceId}-${attempt.spanId}-01`)
    const ids = new Set([parentId, ...spans.map((span) => span.spanId)])
    for (const span of spans) assert.isTrue(ids.has(span.parentSpanId ?? ""), `${span.name} hangs in the air`)
    assert.notInclude(JSON.stringify(spans), key)
  })

  it("CM-13.7 a request without a trace begins one, also where it is refused, and what the house does by itself begins none", async () => {
    const before = spansOf(collector).filter((span) => span.kind === SERVER).length
    await fetch(`${server.url}/v1/requests/nothing`)
    await fetch(`${server.url}/health`)
    await eventually(() => {
      const fresh = spansOf(collector)
        .filter((span) => span.kind === SERVER)
        .slice(before)
      assert.sameMembers(
        fresh.map((span) => span.name),
        ["GET /v1/requests/{id}", "GET /health"]
      )
      assert.strictEqual(fresh.find((span) => span.name !== "GET /health")?.attributes["http.response.status_code"], 401)
      for (const span of fresh) assert.isUndefined(span.parentSpanId)
      assert.strictEqual(new Set(fresh.map((span) => span.traceId)).size, 2)
    })
    const spans = spansOf(collector)
    const traces = new Set(spans.filter((span) => span.kind === SERVER).map((span) => span.traceId))
    for (const span of spans) assert.isTrue(traces.has(span.traceId), `${span.name} belongs to no request`)
  })

  it("tells failed attempts from the one that answered, all in one trace", async () => {
    const { parentId, traceId } = newTrace()
    mock.script({ status: 503, apiKey: "sk-openai-of-the-tests" })
    const answer = await ask({}, { traceparent: `00-${traceId}-${parentId}-01` })
    assert.strictEqual(answer.status, 200)
    const { root, spans } = await traceOf(traceId)
    const attempts = attemptsOf(spans)
    assert.isAtLeast(attempts.length, 2)
    const [failed, ...others] = attempts
    assert.deepInclude(failed?.attributes, {
      "error.type": "status_503",
      "http.response.status_code": 503,
      "gen_ai.provider.name": "openai"
    })
    assert.strictEqual(failed?.status.code, ERROR)
    assert.notStrictEqual(others.at(-1)?.status.code, ERROR)
    assert.strictEqual(root.attributes["http.response.status_code"], 200)
    for (const attempt of attempts) assert.strictEqual(attempt.parentSpanId, root.spanId)
    assert.deepStrictEqual(
      mock.calls().map((call) => call.headers["traceparent"]),
      attempts.map((attempt) => `00-${traceId}-${attempt.spanId}-01`)
    )
  })

  it("ends the spans of a stream when the stream ends, however many pieces it came in", async () => {
    const { parentId, traceId } = newTrace()
    mock.script({ chunks: 12, chunkDelayMs: 10 })
    const answer = await ask({ stream: true }, { traceparent: `00-${traceId}-${parentId}-01` })
    await answer.text()
    const { root, spans } = await traceOf(traceId)
    const attempts = attemptsOf(spans)
    assert.strictEqual(attempts.length, 1)
    const lasted = (span: Span | undefined) => Number(BigInt(span?.endTimeUnixNano ?? 0) - BigInt(span?.startTimeUnixNano ?? 0)) / 1e6
    assert.isAtLeast(lasted(attempts[0]), 110)
    assert.isAtLeast(lasted(root), 110)
    assert.strictEqual(attempts[0]?.attributes["gen_ai.usage.output_tokens"], 12)
    assert.deepStrictEqual(attempts[0]?.attributes["gen_ai.response.finish_reasons"], ["stop"])
    assert.isBelow(spans.length, 10)
  })

  it("keeps no trace that its caller does not keep", async () => {
    const { parentId, traceId } = newTrace()
    await ask({}, { traceparent: `00-${traceId}-${parentId}-00` })
    assert.isUndefined(mock.calls()[0]?.headers["traceparent"])
    const after = newTrace()
    await ask({}, { traceparent: `00-${after.traceId}-${after.parentId}-01` })
    await traceOf(after.traceId)
    assert.deepStrictEqual(
      spansOf(collector).filter((span) => span.traceId === traceId),
      []
    )
  })

  it("sends the metrics too, with the headers that were asked for", async () => {
    await eventually(() => assert.isTrue(metricNamesOf(collector).has("sluice_model_inference_requests_total")))
    for (const { headers, path } of collector.received()) {
      if (path.startsWith("/v1/")) assert.strictEqual(headers["x-collector-token"], "one two")
    }
  })

  it("X-51 log lines and log records carry the ids of the request and of its trace", async () => {
    const { parentId, traceId } = newTrace()
    const answer = await ask({}, { traceparent: `00-${traceId}-${parentId}-01` })
    const id = answer.headers.get("x-sluice-request-id")
    await answer.text()
    await eventually(() => {
      const lines = server
        .output()
        .split("\n")
        .flatMap((line) => (line.startsWith("{") && line.includes(String(id)) ? [JSON.parse(line)] : []))
      const line = lines.find(({ message }) => message === "A request was answered")
      assert.deepInclude(line, { request_id: id, trace_id: traceId, level: "DEBUG" })
      assert.deepInclude(line.annotations, { method: "POST", route: "/v1/chat/completions", status: 200 })
    })
    await eventually(() => {
      const record = logsOf(collector).find(({ attributes }) => attributes["request_id"] === id)
      assert.strictEqual(record?.traceId, traceId)
      assert.match(record?.spanId ?? "", /^[0-9a-f]{16}$/)
    })
    assert.notInclude(server.output(), key)
  })

  it("X-51 prompts and answers stand on spans where that is asked for, their secrets taken out", async () => {
    const { parentId, traceId } = newTrace()
    mock.script({ text: "your key is sk-live-0123456789abcdef" })
    const messages = [{ role: "user", content: "what does gw_live_abcdefghijklmnopqrstuvwx stand for?" }]
    await ask({ messages }, { traceparent: `00-${traceId}-${parentId}-01` })
    const [attempt] = attemptsOf((await traceOf(traceId)).spans)
    assert.include(String(attempt?.attributes["gen_ai.input.messages"]), "what does [redacted] stand for?")
    assert.strictEqual(attempt?.attributes["gen_ai.output.messages"], "your key is [redacted]")
  })

  it("CM-13.6 an unhandled failure reaches the error tracker once, with the request's id and no secret", async () => {
    const answers = [await ask({ user: MARKER }), await ask({ user: MARKER })]
    for (const answer of answers) {
      assert.strictEqual(answer.status, 500)
      assert.notInclude(await answer.text(), "cannot write it down")
    }
    await eventually(() => assert.isAtLeast(eventsOf(collector).length, 2, server.output().slice(-3_000)))
    const ids = answers.map((answer) => answer.headers.get("x-sluice-request-id"))
    const events = eventsOf(collector)
    assert.sameMembers(
      events.map((event) => event.tags?.["request_id"]),
      ids
    )
    const told = JSON.stringify(events)
    assert.include(told, "cannot write it down")
    for (const secret of ["hunter2hunter2", "abcdefghijklmnop", "gw_dev_", key, "sk-openai"]) assert.notInclude(told, secret)
    const [envelope] = collector.received().filter(({ path }) => path.startsWith("/api/7/envelope/"))
    assert.include(`${envelope?.path} ${envelope?.headers["x-sentry-auth"] ?? ""}`, "sentry_key=publickey")
    assert.notInclude(server.output(), "hunter2hunter2")
    assert.notInclude(JSON.stringify(logsOf(collector)), "gw_dev_abcdefghijklmnopqrstuvwx")
  })
})
