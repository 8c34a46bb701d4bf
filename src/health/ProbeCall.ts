/**
 * One probe: the smallest request that tells whether a model answers at a provider.
 *
 * @since 0.1.0
 */
import { Clock, Effect } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import type { ProviderError } from "../../schemas/Provider.ts"
import type { Breakers } from "../providers/Breakers.ts"
import { breakerOutcome, errorCode } from "../providers/FailurePolicy.ts"
import type { ProviderAdapters } from "../providers/ProviderAdapters.ts"
import type { RegisteredProvider } from "../providers/ProviderRegistry.ts"
import { urlOf } from "../providers/ProviderRegistry.ts"
import { headersFor } from "../providers/protocols/HttpProtocol.ts"
import type { Transport } from "../providers/Transport.ts"
import { chatRequest, embeddingsRequest } from "../routing/HouseRequest.ts"
import { operationOf } from "../routing/Operations.ts"
import { outcomeOf } from "./PassiveHealth.ts"
import type { TierRule } from "./ProbeTiers.ts"

/** `unclear`: it was limited, its circuit is open, or it said nothing of itself. @category models @since 0.1.0 */
export interface ProbeResult {
  readonly outcome: "success" | "failure" | "unclear"
  readonly error: string | null
  readonly latencyMs: number
}

/** @category models @since 0.1.0 */
export interface ProbeParts {
  readonly adapters: ProviderAdapters["Service"]
  readonly breakers: Breakers["Service"]
  readonly transport: Transport["Service"]
}

const WORD = "ping"
/** Tokens of a prompt of one word, whatever the provider adds. */
const PROMPT_TOKENS = 16

/** What is asked of a model; null where no answer of it is cheap: then its provider's list has to do. */
const requestOf = ({ model }: Candidate, maxTokens: number): InferenceRequest | null => {
  const operation = operationOf(model)
  if (operation === "embeddings") return embeddingsRequest(model.id, WORD)
  return operation === "chat" ? chatRequest(model.id, WORD, maxTokens) : null
}

/** The most that a probe can cost, in picodollars. @category accessors @since 0.1.0 */
export const costOf = (candidate: Candidate, rule: TierRule): bigint => {
  const { completion, prompt, reasoning, request } = candidate.pricing
  if (requestOf(candidate, rule.maxTokens) === null) return 0n
  const dearest = reasoning !== undefined && reasoning > completion ? reasoning : completion
  const output = operationOf(candidate.model) === "chat" ? dearest * BigInt(rule.maxTokens) : 0n
  return prompt * BigInt(PROMPT_TOKENS) + output + (request ?? 0n)
}

/** A model that thinks may use up its few tokens before the first word. */
const isUnclear = (error: ProviderError, candidate: Candidate): boolean =>
  error.reason._tag === "ProviderAnswer" && error.reason.fault === "empty" && candidate.model.supports.reasoning

/** Asks a provider for its list of models, which costs nothing. */
const list = (transport: Transport["Service"], provider: RegisteredProvider): Effect.Effect<string | null> => {
  const { modelsPath } = provider.definition
  if (modelsPath === null) return Effect.succeed("no_list")
  const { "content-type": _, ...headers } = headersFor(provider)
  return Effect.scoped(transport.send({ method: "GET", url: urlOf(provider, modelsPath), headers, body: null })).pipe(
    Effect.match({
      onFailure: ({ reason }) => (reason._tag === "ProviderTimeout" ? `timeout_${reason.phase}` : "connection_failed"),
      onSuccess: ({ status }) => (status === 200 ? null : `status_${status}`)
    })
  )
}

/** Probes a model at a provider; its circuit is told as by any other call. @category running @since 0.1.0 */
export const probe = Effect.fnUntraced(function* (
  { adapters, breakers, transport }: ProbeParts,
  provider: RegisteredProvider,
  candidate: Candidate,
  rule: TierRule
): Effect.fn.Return<ProbeResult> {
  const permit = yield* breakers.permit(candidate.provider)
  if (permit === null) return { outcome: "unclear", error: "circuit_open", latencyMs: 0 }
  const startedAt = yield* Clock.currentTimeMillis
  const request = requestOf(candidate, rule.maxTokens)
  const { model, nativeId } = candidate
  const asked: Effect.Effect<{ readonly error: string | null; readonly told: "success" | "failure" | "ignored" }> =
    request === null
      ? Effect.map(list(transport, provider), (error) => ({ error, told: "ignored" }))
      : Effect.match(adapters.for(provider).send({ provider, nativeId, model, request, maxTokens: null }), {
          onFailure: (error) =>
            isUnclear(error, candidate) ? { error: "no_list", told: "ignored" } : { error: errorCode(error), told: breakerOutcome(error) },
          onSuccess: () => ({ error: null, told: "success" })
        })
  const { error, told } = yield* asked.pipe(
    Effect.timeoutOrElse({ duration: rule.timeoutMs, orElse: () => Effect.succeed({ error: "timeout_probe", told: "failure" as const }) }),
    Effect.onInterrupt(() => permit.tell("ignored"))
  )
  yield* permit.tell(told)
  const latencyMs = (yield* Clock.currentTimeMillis) - startedAt
  const went =
    error === "no_list" ? "refused" : outcomeOf({ provider: candidate.provider, model: model.id, status: null, error, latencyMs })
  return { outcome: went === "success" || went === "failure" ? went : "unclear", error, latencyMs }
})
