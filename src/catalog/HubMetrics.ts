/**
 * What the Hugging Face Hub tells of a model's repository, and which repository is whose.
 *
 * @since 0.1.0
 */
import { Context, Schema } from "effect"
import * as Json from "../../schemas/Json.ts"
import type { Model } from "../../schemas/Model.ts"
import table from "./repositories.json" with { type: "json" }

/** Null: the Hub does not say. @category schemas @since 0.1.0 */
export const HubMetrics = Schema.Struct({
  downloads: Schema.NullOr(Schema.Int),
  likes: Schema.NullOr(Schema.Int),
  parameterCount: Schema.NullOr(Schema.Int),
  pipelineTag: Schema.NullOr(Schema.String),
  author: Schema.NullOr(Schema.String),
  /** Inference providers that serve it there. */
  inferenceHosts: Schema.Array(Schema.String)
})
export type HubMetrics = typeof HubMetrics.Type

/** What is known of a repository, and since when. @category models @since 0.1.0 */
export interface KnownRepository {
  readonly repository: string
  readonly metrics: HubMetrics
  /** Epoch milliseconds. */
  readonly syncedAt: number
}

/** Unchanged once it is published. @category models @since 0.1.0 */
export interface HubSnapshot {
  /** Another one, another number. */
  readonly version: number
  readonly of: (model: Model) => KnownRepository | null
}

/** Nothing is known. @category constructors @since 0.1.0 */
export const nothing: HubSnapshot = { version: 0, of: () => null }

/** Nothing is known unless a program provides it. @category references @since 0.1.0 */
export const PublishedHubMetrics = Context.Reference<() => HubSnapshot>("sluice/catalog/PublishedHubMetrics", {
  defaultValue: () => () => nothing
})

const known: ReadonlyMap<string, string> = new Map(Object.entries(table))

/** Providers whose ids are those of the Hub. */
const hubHosts = ["huggingface", "featherless"]

/** `{owner}/{name}`, and nothing that means something in an address. @category predicates @since 0.1.0 */
export const isRepository = (name: string): boolean => /^\w[\w.-]{0,95}\/\w[\w.-]{0,95}$/.test(name) && !name.includes("..")

/**
 * The repository of a model's weights: as the table has it, as a list named it, or as a provider calls it whose ids are the
 * Hub's own. Null for closed models, and where it is not known: none is made up.
 *
 * @category accessors
 * @since 0.1.0
 */
export const repositoryOf = (model: Pick<Model, "huggingFace" | "id" | "openWeights" | "providers">): string | null => {
  if (!model.openWeights) return null
  // `:free` and the like are other ways to the same weights.
  const named = known.get(model.id.replace(/:[a-z]+$/, "")) ?? model.huggingFace
  if (named !== undefined) return named
  const hosted = model.providers.find(({ slug }) => hubHosts.includes(slug))?.nativeId.replace(/:.*$/, "")
  return hosted !== undefined && isRepository(hosted) ? hosted : null
}

const MAX_TEXT = 100
const MAX_HOSTS = 100

const textOf = (value: Json.Json | undefined): string | null => {
  const text = Json.string(value)?.trim() ?? ""
  return text === "" || text.length > MAX_TEXT ? null : text
}

const countOf = (value: Json.Json | undefined): number | null =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null

/** The parameters of the weights, by whichever form they are kept in. */
const parametersOf = (body: Json.JsonObject): number | null => {
  for (const form of ["safetensors", "gguf"]) {
    const total = countOf(Json.objectAt(body, form)["total"])
    if (total !== null && total > 0) return total
  }
  return null
}

/** Written as a list of hosts, or as an object by their names. */
const hostsOf = (mapping: Json.Json | undefined): ReadonlyArray<string> => {
  const rows = Json.isArray(mapping)
    ? mapping.map((row) => [Json.isObject(row) ? textOf(row["provider"]) : null, row] as const)
    : Object.entries(Json.isObject(mapping) ? mapping : {}).map(([name, row]) => [textOf(name), row] as const)
  const live = rows.flatMap(([name, row]) => (name !== null && Json.isObject(row) && (row["status"] ?? "live") === "live" ? [name] : []))
  return [...new Set(live)].sort().slice(0, MAX_HOSTS)
}

/** Reads what the Hub answers of a model; null where it is no such answer. @category parsers @since 0.1.0 */
export const readMetrics = (text: string): HubMetrics | null => {
  const body = Json.parse(text)
  if (!Json.isObject(body) || (textOf(body["id"]) ?? textOf(body["modelId"])) === null) return null
  return {
    downloads: countOf(body["downloads"]),
    likes: countOf(body["likes"]),
    parameterCount: parametersOf(body),
    pipelineTag: textOf(body["pipeline_tag"]),
    author: textOf(body["author"]),
    inferenceHosts: hostsOf(body["inferenceProviderMapping"])
  }
}

/** As it stands in a model's row. @category encoding @since 0.1.0 */
export const encodeMetrics = (found: KnownRepository | null) =>
  found === null
    ? null
    : {
        repository: found.repository,
        downloads: found.metrics.downloads,
        likes: found.metrics.likes,
        parameter_count: found.metrics.parameterCount,
        pipeline_tag: found.metrics.pipelineTag,
        author: found.metrics.author,
        inference_hosts: found.metrics.inferenceHosts,
        synced_at: new Date(found.syncedAt).toISOString()
      }
