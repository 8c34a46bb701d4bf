/**
 * What the name of a model in a request means: the candidates to try, in order. A router's name means the models that fit
 * best, and the next best after them.
 *
 * @since 0.1.0
 */
import { Array as Arr, Clock, Context, Effect, Layer, Metric } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate, Model } from "../../schemas/Model.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { blendedPrice, type Contender, isAble, isChosen, type Needs, qualityOf } from "../routing/Contender.ts"
import { Conversations, conversationOf } from "../routing/Conversations.ts"
import { Latencies, type P50 } from "../routing/Latencies.ts"
import { forOperation } from "../routing/Operations.ts"
import { type HealthSnapshot, PublishedHealth } from "../routing/PublishedHealth.ts"
import { livedQuality, QualitySignals, type SignalsOf } from "../routing/QualitySignals.ts"
import { type Recommend, Recommender } from "../routing/Recommender.ts"
import { decide, describeNeeds, needsOf, type Routing } from "../routing/RouterDecision.ts"
import { parseRouter, type RouterName, routerNames } from "../routing/RouterName.ts"
import { Catalog, CatalogError, InvalidRoute, ModelNotFound } from "./Catalog.ts"
import { CatalogListing } from "./CatalogListing.ts"
import type { ListedModel } from "./ModelListing.ts"

/** @category models @since 0.1.0 */
export interface Resolved {
  readonly candidates: Arr.NonEmptyReadonlyArray<Candidate>
  /** Null where the caller named the model. */
  readonly routing: Routing | null
}

/** Names of a deployment's own that stand for several models, in lower case; at least one model each. @category references @since 0.1.0 */
export const ModelRoutes = Context.Reference<ReadonlyMap<string, ReadonlyArray<string>>>("sluice/catalog/ModelRoutes", {
  defaultValue: () => new Map()
})

/** @category services @since 0.1.0 */
export class Resolution extends Context.Service<
  Resolution,
  {
    /** The candidates of a request: of its model, then of its fallback models; all of them can do what is asked. Routers heed what the account has seen of models. */
    readonly resolve: (request: InferenceRequest, accountId?: string | null) => Effect.Effect<Resolved, CatalogError>
    /** The first of the models named that is known and not free, whether anybody serves it or not; null where there is none. */
    readonly priced: (request: InferenceRequest) => string | null
  }
>()("sluice/catalog/Resolution") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const parts: Omit<Parts, "accountId"> = {
        catalog: yield* Catalog,
        listing: yield* CatalogListing,
        registry: yield* ProviderRegistry,
        health: yield* PublishedHealth,
        p50Of: yield* Latencies,
        signalsOf: yield* QualitySignals,
        recommend: yield* Recommender,
        routes: yield* ModelRoutes,
        conversations: new Conversations()
      }
      return Resolution.of({
        resolve: (request, accountId) => resolve({ ...parts, accountId: accountId ?? null }, request),
        priced: (request) => pricedOf(parts, request)
      })
    })
  )
}

interface Parts {
  readonly catalog: Catalog["Service"]
  readonly listing: CatalogListing["Service"]
  readonly registry: ProviderRegistry["Service"]
  readonly health: () => HealthSnapshot
  readonly p50Of: P50
  readonly signalsOf: SignalsOf
  readonly recommend: Recommend | null
  readonly routes: ReadonlyMap<string, ReadonlyArray<string>>
  readonly conversations: Conversations
  /** Who asks; null: nobody known. */
  readonly accountId: string | null
}

const general = Metric.counter("sluice_general_router_requests_total", { description: "Choices of the general router", incremental: true })
const code = Metric.counter("sluice_code_router_requests_total", { description: "Choices of the code router", incremental: true })

/** Models of a routed request: the chosen one and the next best. */
const MODELS = 3
/** The provider that stands in where there is no other. */
const SANDBOX = "sandbox"

const refuse = (message: string) => Effect.fail(new CatalogError({ reason: new InvalidRoute({ message, param: "model" }) }))

/** A model as a contender, judged at the provider that would be asked first; undefined when the caller's providers do not serve it. */
const contend = (parts: Parts, request: InferenceRequest, { model, usable }: ListedModel): Contender | undefined => {
  const { named, only: listed = [] } = request.preference ?? {}
  const only = (named === undefined ? listed : [named]).map((name) => parts.registry.get(name)?.definition.slug ?? name)
  const first = only.length === 0 ? usable[0] : usable.find((slug) => only.includes(slug))
  const pricing = model.providers.find((row) => row.slug === first)?.pricing
  if (first === undefined || pricing === undefined || pricing === null) return undefined
  const p50 = parts.p50Of(model.id, first)
  const quality = livedQuality(qualityOf(model), parts.signalsOf(model.id, first, parts.accountId), p50)
  return { model, pricing, quality, blended: blendedPrice(pricing), p50 }
}

/** Without the providers at which the model is down. */
const withoutDown = (health: HealthSnapshot, listed: ListedModel): ListedModel => {
  const isUp = (slug: string): boolean => health.of(listed.model.id, slug) !== "down"
  return listed.usable.every(isUp) ? listed : { ...listed, usable: listed.usable.filter(isUp) }
}

const contendersOf = Effect.fnUntraced(function* (parts: Parts, request: InferenceRequest, needs: Needs) {
  const all: Array<Contender> = []
  const health = parts.health()
  for (const listed of yield* parts.listing.models) {
    if (listed.usable.length === 0 || !isChosen(listed.model) || !isAble(listed.model, needs)) continue
    const contender = contend(parts, request, withoutDown(health, listed))
    if (contender !== undefined) all.push(contender)
  }
  const real = all.filter(({ model }) => model.org !== SANDBOX)
  return real.length > 0 ? real : all
})

const measure = (routing: Routing, provider: string): Effect.Effect<void> => {
  const labels = { mode: routing.mode, selected_model: routing.model }
  if (routing.router === "general") return Metric.update(Metric.withAttributes(general, { ...labels, provider }), 1)
  const task = {
    task_category: routing.task_category ?? "",
    complexity: routing.complexity ?? "",
    selected_tier: String(routing.tier ?? "")
  }
  return Metric.update(Metric.withAttributes(code, { ...labels, ...task }), 1)
}

const route = Effect.fnUntraced(function* (
  parts: Parts,
  name: RouterName,
  request: InferenceRequest
): Effect.fn.Return<Resolved, CatalogError> {
  if (request.operation !== "chat") return yield* refuse("Routers choose models for chat only. Name a model.")
  const needs = needsOf(request)
  const able = yield* contendersOf(parts, request, needs)
  // Chat's answer says where there are no log probabilities: better none than no answer.
  const withoutLogprobs = able.length === 0 && needs.logprobs && request.protocol === "openai-chat"
  const contenders = withoutLogprobs ? yield* contendersOf(parts, request, { ...needs, logprobs: false }) : able
  const now = yield* Clock.currentTimeMillis
  const conversation = name.router === "general" ? conversationOf(name.mode, request, parts.accountId) : null
  const began = conversation === null ? null : parts.conversations.modelOf(conversation, now)
  const { about, ranked } = yield* decide(name, request, contenders, parts.recommend, began)
  const candidates: Array<Candidate> = []
  const models: Array<Model> = []
  for (const { contender } of ranked) {
    if (models.length === MODELS) break
    const found = yield* Effect.result(parts.catalog.candidates(contender.model.id, request.preference))
    if (found._tag === "Failure") continue
    candidates.push(...found.success)
    models.push(contender.model)
  }
  const chosen = ranked.find(({ contender }) => contender.model === models[0])?.contender
  if (chosen === undefined || !Arr.isReadonlyArrayNonEmpty(candidates)) {
    return yield* refuse(`No model that is served here can take this request (${describeNeeds(needs)}).`)
  }
  const routing = about(
    chosen,
    models.slice(1).map((model) => model.id)
  )
  if (conversation !== null) parts.conversations.remember(conversation, chosen.model.id, now)
  yield* measure(routing, candidates[0].provider)
  return { candidates, routing }
})

const named = (parts: Parts, name: string, request: InferenceRequest): Effect.Effect<Resolved, CatalogError> => {
  const router = parseRouter(name)
  if (router === "invalid") return refuse(`There is no \`${name}\`. There are ${routerNames}.`)
  if (router !== null) return route(parts, router, request)
  return Effect.flatMap(parts.catalog.candidates(name, request.preference), (candidates) =>
    Arr.isReadonlyArrayNonEmpty(candidates)
      ? Effect.succeed({ candidates, routing: null })
      : Effect.die(new Error("a route without candidates"))
  )
}

/** The provider named is the model's: a fallback model that it does not serve is another's. */
const withoutNamed = (request: InferenceRequest): InferenceRequest => {
  if (request.preference?.named === undefined) return request
  const { named: _, ...preference } = request.preference
  return { ...request, preference }
}

const withFallbacks = Effect.fnUntraced(function* (parts: Parts, request: InferenceRequest): Effect.fn.Return<Resolved, CatalogError> {
  if (request.fallbackModels.length === 0) return yield* named(parts, request.model, request)
  const first = yield* Effect.result(named(parts, request.model, request))
  const all: Array<Candidate> = []
  if (first._tag === "Success") all.push(...first.success.candidates)
  // Only a model that nobody serves just now is passed over; a wrong name is told, not hidden by a fallback.
  else if (first.failure.reason._tag !== "NoActiveProvider") return yield* Effect.fail(first.failure)
  const next = withoutNamed(request)
  for (const model of request.fallbackModels) {
    const found = yield* Effect.result(named(parts, model, next))
    if (found._tag === "Success") all.push(...found.success.candidates)
    else if (found.failure.reason._tag === "ModelNotFound") {
      return yield* new CatalogError({ reason: new ModelNotFound({ model, param: "models" }) })
    }
  }
  if (!Arr.isReadonlyArrayNonEmpty(all)) return yield* Effect.fromResult(first)
  return { candidates: all, routing: first._tag === "Success" ? first.success.routing : null }
})

/** A name that stands for several models as those. */
const spelledOut = (parts: Pick<Parts, "routes">, request: InferenceRequest): InferenceRequest => {
  const [model, ...others] = parts.routes.size === 0 ? [] : (parts.routes.get(request.model.toLowerCase()) ?? [])
  return model === undefined ? request : { ...request, model, fallbackModels: [...others, ...request.fallbackModels] }
}

const pricedOf = (parts: Pick<Parts, "catalog" | "routes">, asked: InferenceRequest): string | null => {
  const { fallbackModels, model } = spelledOut(parts, asked)
  for (const name of [model, ...fallbackModels]) {
    const found = parts.catalog.find(name)
    if (found !== undefined && !found.free) return found.id
  }
  return null
}

const resolve = Effect.fnUntraced(function* (parts: Parts, asked: InferenceRequest): Effect.fn.Return<Resolved, CatalogError> {
  const request = spelledOut(parts, asked)
  const resolved = yield* withFallbacks(parts, request)
  const able = forOperation(resolved.candidates, request.operation, (slug) => parts.registry.get(slug)?.definition)
  if (typeof able === "string") return yield* refuse(able)
  if (able === resolved.candidates) return resolved
  return Arr.isReadonlyArrayNonEmpty(able)
    ? { candidates: able, routing: resolved.routing }
    : yield* Effect.die(new Error("a route without candidates"))
})
