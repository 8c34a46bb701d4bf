/**
 * What is counted of the end of a request.
 *
 * Series are found once for a provider and model, and updated without an Effect: it costs next to nothing.
 *
 * @since 0.1.0
 */
import { type Context, Effect, type Metric } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import type { InferenceRequest, Protocol } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"
import type { Attempt } from "../providers/AttemptLog.ts"
import * as Series from "../telemetry/Series.ts"

/** The end of a request, as far as it is counted. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface Finished {
  readonly caller: Caller
  readonly request: InferenceRequest
  /** Who answered, or was being asked when the request ended; null when nobody was. */
  readonly candidate: Candidate | null
  readonly attempts: ReadonlyArray<Attempt>
  readonly usage: Usage
  readonly cost: Money.Money
  /** What had been set aside for it; absent when nothing was. */
  readonly held?: Money.Money
  readonly outcome: "ok" | "cached" | "cancelled" | "rejected" | "refunded"
  readonly status: number
  readonly startedAt: number
  readonly endedAt: number
  readonly timeToFirstChunkMs: number | null
}

const DURATIONS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60]
const FIRST_CHUNKS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 15]

/** Milliseconds from which an attempt is slow, and very slow. */
const SLOW = 30_000
const VERY_SLOW = 45_000

const endpoints: Readonly<Record<Protocol, string>> = {
  "openai-chat": "/v1/chat/completions",
  "openai-responses": "/v1/responses",
  "anthropic-messages": "/v1/messages",
  "openai-embeddings": "/v1/embeddings",
  "openai-images": "/v1/images/generations",
  "openai-audio": "/v1/audio/transcriptions"
}

const makeSeries = () => {
  const both = ["provider", "model"]
  return {
    requests: Series.counter("sluice_model_inference_requests_total", "Inference requests by provider, model and how they ended", [
      ...both,
      "status"
    ]),
    duration: Series.histogram("sluice_model_inference_duration_seconds", "Whole requests, in seconds", both, DURATIONS),
    firstChunk: Series.histogram(
      "sluice_time_to_first_chunk_seconds",
      "From a request to the first chunk of its stream, in seconds",
      both,
      FIRST_CHUNKS
    ),
    tokens: Series.counter("sluice_tokens_used_total", "Tokens that were charged for, or would have been if they were not free", [
      ...both,
      "token_type"
    ]),
    credits: Series.counter("sluice_credits_used_total", "USD taken from accounts", both),
    cost: Series.counter("sluice_api_cost_usd_total", "What was served, at its list price in USD", both),
    sources: Series.counter("sluice_token_count_source_total", "Requests by who counted their tokens", [...both, "source"]),
    slow: Series.counter("sluice_provider_slow_requests_total", "Attempts that took 30 s (slow) or 45 s (very_slow) to answer or begin", [
      ...both,
      "severity"
    ]),
    free: Series.counter("sluice_free_model_usage_total", "Requests that a free model answered", ["user_status", "model"]),
    deductions: Series.counter("sluice_credit_deduction_total", "Charges", ["status", "endpoint", "is_streaming"]),
    refunds: Series.counter("sluice_credit_refunds_total", "Holds given back for want of an answer", ["reason"]),
    refunded: Series.counter("sluice_credit_refunds_amount_usd_total", "USD of holds given back for want of an answer", ["reason"])
  }
}

type AllSeries = ReturnType<typeof makeSeries>

type Counter = Series.Updates<number, Metric.CounterState<number>>
type Histogram = Series.Updates<number, Metric.HistogramState>

/** The series of one provider and model. */
class ModelSeries {
  readonly duration: Histogram
  readonly firstChunk: Histogram
  private readonly ends = new Map<Finished["outcome"], Counter>()
  private served: ReturnType<typeof servedSeries> | null = null
  private readonly all: AllSeries
  private readonly context: Context.Context<never>
  private readonly provider: string
  private readonly model: string

  constructor(all: AllSeries, context: Context.Context<never>, provider: string, model: string) {
    this.all = all
    this.context = context
    this.provider = provider
    this.model = model
    this.duration = new Series.Updates(all.duration(provider, model), context)
    this.firstChunk = new Series.Updates(all.firstChunk(provider, model), context)
  }

  ended(outcome: Finished["outcome"]): Counter {
    const known = this.ends.get(outcome)
    if (known !== undefined) return known
    const fresh = new Series.Updates(this.all.requests(this.provider, this.model, outcome), this.context)
    this.ends.set(outcome, fresh)
    return fresh
  }

  /** What only an answer has. */
  answered(): ReturnType<typeof servedSeries> {
    this.served ??= servedSeries(this.all, this.context, this.provider, this.model)
    return this.served
  }
}

const servedSeries = (all: AllSeries, context: Context.Context<never>, provider: string, model: string) => ({
  input: new Series.Updates(all.tokens(provider, model, "input"), context),
  output: new Series.Updates(all.tokens(provider, model, "output"), context),
  credits: new Series.Updates(all.credits(provider, model), context),
  cost: new Series.Updates(all.cost(provider, model), context),
  provider: new Series.Updates(all.sources(provider, model, "provider"), context),
  estimated: new Series.Updates(all.sources(provider, model, "estimated"), context)
})

/** Why a hold was given back, in a word of few. */
const reasonOf = (end: Finished): string => {
  const failed = end.attempts.findLast((attempt) => attempt.error !== null)?.error
  if (end.status === 500) return "internal_error"
  return failed ?? (end.status === 503 ? "unavailable" : "no_answer")
}

const userStatus = (caller: Caller): string => (caller.isAnonymous ? "anonymous" : caller.trialEndsAt !== null ? "trial" : "customer")

/** As exact as a counter can be; amounts are picodollars. */
const usd = (amount: Money.Money): number => Number(amount) / 1e12

/** Counts one end; only canonical ids become labels, so callers cannot grow the series. @category constructors @since 0.1.0 */
export const make: Effect.Effect<(end: Finished) => void> = Effect.map(Effect.context<never>(), (context: Context.Context<never>) => {
  const all = makeSeries()
  const known = new Map<string, Map<string, ModelSeries>>()

  const of = (provider: string, model: string): ModelSeries => {
    const found = known.get(provider)?.get(model)
    if (found !== undefined) return found
    const fresh = new ModelSeries(all, context, provider, model)
    Series.obtain(known, provider, () => new Map<string, ModelSeries>()).set(model, fresh)
    return fresh
  }

  const charges = { whole: new Map<Protocol, Counter>(), streamed: new Map<Protocol, Counter>() }
  const chargesOf = ({ protocol, stream }: InferenceRequest): Counter =>
    Series.obtain(stream ? charges.streamed : charges.whole, protocol, () => {
      const deductions = all.deductions("success", endpoints[protocol], String(stream))
      return new Series.Updates(deductions, context)
    })

  const serve = (end: Finished, candidate: Candidate, series: ModelSeries): void => {
    const { usage } = end
    const served = series.answered()
    served.input.update(usage.input + usage.cachedRead + usage.cacheWrite)
    served.output.update(usage.output + usage.reasoning)
    served[usage.source].update(1)
    if (candidate.model.free) all.free(userStatus(end.caller), candidate.model.id).updateUnsafe(1, context)
    if (end.cost === 0n) return
    const cost = usd(end.cost)
    served.credits.update(cost)
    served.cost.update(cost)
    chargesOf(end.request).update(1)
  }

  const refund = (end: Finished): void => {
    const reason = reasonOf(end)
    all.refunds(reason).updateUnsafe(1, context)
    all.refunded(reason).updateUnsafe(usd(end.held ?? Money.zero), context)
  }

  return (end) => {
    const last = end.attempts.at(-1)
    const series = of(end.candidate?.provider ?? last?.provider ?? "none", end.candidate?.model.id ?? last?.model ?? "other")
    series.ended(end.outcome).update(1)
    series.duration.update((end.endedAt - end.startedAt) / 1_000)
    if (end.timeToFirstChunkMs !== null) series.firstChunk.update(end.timeToFirstChunkMs / 1_000)
    if (end.candidate !== null && (end.outcome === "ok" || end.outcome === "cancelled")) serve(end, end.candidate, series)
    if (end.outcome === "refunded") refund(end)
    for (const { latencyMs, model, provider } of end.attempts) {
      if (latencyMs > SLOW) all.slow(provider, model, latencyMs > VERY_SLOW ? "very_slow" : "slow").updateUnsafe(1, context)
    }
  }
})
