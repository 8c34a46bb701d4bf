/**
 * What a router decides for one request, and why.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import { estimateTokens } from "../../schemas/Usage.ts"
import { rankCode, savingsOf, tierOf } from "./CodeRouter.ts"
import { classify } from "./CodeTask.ts"
import type { Contender, Needs } from "./Contender.ts"
import { keepModel } from "./Conversations.ts"
import { type Ranked, rankGeneral } from "./GeneralRouter.ts"
import { classifyGeneral, LOW_CONFIDENCE } from "./GeneralTask.ts"
import { type Recommend, recommended } from "./Recommender.ts"
import type { GeneralMode, RouterName } from "./RouterName.ts"
import { qualityFor } from "./TaskPriors.ts"

/** What a router decided, and why: kept with the request. @category models @since 0.1.0 */
export interface Routing {
  readonly router: RouterName["router"]
  readonly mode: string
  readonly model: string
  /** In words. */
  readonly reason: string
  /** Models that could have done it. */
  readonly considered: number
  /** Models that are tried when the chosen one fails. */
  readonly alternatives: ReadonlyArray<string>
  readonly quality: number
  /** USD per million tokens, two of input to one of output. */
  readonly blended_usd: number
  readonly p50_ms: number | null
  readonly task_category?: string
  readonly complexity?: string
  readonly confidence?: number
  readonly tier?: number
  /** USD that 1,000 tokens of input and 500 of output cost less than at 3 and 15, and at 2.50 and 10 USD per million. */
  readonly savings_usd?: ReadonlyArray<number>
}

/** Contenders in order, and what is to be said of one of them when it is taken. @category models @since 0.1.0 */
export interface Decision {
  readonly ranked: ReadonlyArray<Ranked>
  readonly about: (chosen: Contender, alternatives: ReadonlyArray<string>) => Routing
}

/** Tokens that an image takes, at most. */
const IMAGE_TOKENS = 1_600

/** What a request needs of a model. @category accessors @since 0.1.0 */
export const needsOf = (request: InferenceRequest): Needs => {
  const { format, sampling, tools } = request.conversation()
  return {
    tokens: estimateTokens(request.promptCharacters) + request.promptImages * IMAGE_TOKENS + (request.maxTokens ?? 0),
    tools: tools.length > 0,
    vision: request.promptImages > 0,
    jsonSchema: format._tag === "JsonSchema",
    logprobs: sampling.logprobs
  }
}

/** Needs in words. @category formatting @since 0.1.0 */
export const describeNeeds = (needs: Needs): string =>
  [
    `${needs.tokens} tokens`,
    ...(needs.tools ? ["tools"] : []),
    ...(needs.vision ? ["images"] : []),
    ...(needs.jsonSchema ? ["a JSON schema"] : []),
    ...(needs.logprobs ? ["log probabilities"] : [])
  ].join(", ")

/** The last words of the user. */
const lastWords = (request: InferenceRequest): string => {
  // What tools gave stands in turns of the user's too, and is none of the words.
  const turn = request.conversation().turns.findLast(({ parts, role }) => role === "user" && parts.some((part) => part._tag === "Text"))
  return (turn?.parts ?? []).flatMap((part) => (part._tag === "Text" ? [part.text] : [])).join("\n")
}

const reasons: Readonly<Record<GeneralMode, string>> = {
  quality: "the highest benchmark scores",
  cost: "the lowest price at sufficient quality",
  latency: "the fastest answers just now",
  balanced: "the best balance of quality, cost and latency"
}

const factsOf = (name: RouterName, considered: number, chosen: Contender) => ({
  router: name.router,
  mode: name.mode,
  model: chosen.model.id,
  considered,
  quality: Number(chosen.quality.toFixed(2)),
  blended_usd: Number(chosen.blended.toFixed(6)),
  p50_ms: chosen.p50
})

type Named<R extends RouterName["router"]> = RouterName & { readonly router: R }

const decideGenerally = Effect.fnUntraced(function* (
  name: Named<"general">,
  request: InferenceRequest,
  contenders: ReadonlyArray<Contender>,
  recommend: Recommend | null,
  began: string | null
): Effect.fn.Return<Decision> {
  const told = classifyGeneral(lastWords(request))
  const task = told !== null && told.confidence >= LOW_CONFIDENCE ? told : null
  const judged =
    task === null
      ? contenders
      : contenders.map((contender) => ({ ...contender, quality: qualityFor(contender.quality, contender.model, task.task) }))
  const best = rankGeneral(name.mode, judged)
  const ranked = keepModel(name.mode, best, began)
  const reason = ranked === best ? reasons[name.mode] : "the model that the conversation began with, about as good as the best"
  const kind = task === null ? {} : { task_category: task.category, confidence: Number(task.confidence.toFixed(3)) }
  const decision = (order: ReadonlyArray<Ranked>, why: string): Decision => ({
    ranked: order,
    about: (chosen, alternatives) => ({ ...factsOf(name, order.length, chosen), reason: why, alternatives, ...kind })
  })
  if (recommend === null) return decision(ranked, reason)
  const models = ranked.map(({ contender }) => contender.model.id)
  const first = yield* recommended(recommend, { mode: name.mode, text: lastWords(request), models })
  const chosen = [...new Set(first)].flatMap((id) => ranked.filter(({ contender }) => contender.model.id === id))
  if (chosen.length === 0) return decision(ranked, reason)
  return decision([...chosen, ...ranked.filter((entry) => !chosen.includes(entry))], "recommended")
})

const perMillion = (price: bigint): number => Number(price) / 1_000_000

const decideForCode = (name: Named<"code">, request: InferenceRequest, contenders: ReadonlyArray<Contender>): Decision => {
  const task = classify({ text: lastWords(request), messages: request.conversation().turns.length })
  const ranked = rankCode(name.mode, task, contenders)
  return {
    ranked,
    about: (chosen, alternatives) => {
      const tier = tierOf(chosen.model)
      const how = name.mode === "price" ? "the cheapest that may do it" : `of tier ${tier}, for the mode ${name.mode}`
      return {
        ...factsOf(name, ranked.length, chosen),
        reason: `${task.category} of ${task.complexity} complexity: ${how}`,
        alternatives,
        task_category: task.category,
        complexity: task.complexity,
        confidence: Number(task.confidence.toFixed(3)),
        tier,
        savings_usd: savingsOf({ input: perMillion(chosen.pricing.prompt), output: perMillion(chosen.pricing.completion) })
      }
    }
  }
}

/** Asks a router. `began`: the model that the conversation began with; null where that is not known. @category routing @since 0.1.0 */
export const decide = (
  name: RouterName,
  request: InferenceRequest,
  contenders: ReadonlyArray<Contender>,
  recommend: Recommend | null,
  began: string | null
): Effect.Effect<Decision> =>
  name.router === "general"
    ? decideGenerally(name, request, contenders, recommend, began)
    : Effect.succeed(decideForCode(name, request, contenders))
