/**
 * A provider's own list of models, read for its meaning. Lists look different everywhere; what cannot be read is left out.
 * Pure.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Json from "../../schemas/Json.ts"
import * as Money from "../../schemas/Money.ts"
import { PricingRow } from "./CatalogData.ts"
import { isRepository } from "./HubMetrics.ts"
import { judge, type PriceUnit, perToken, unitOf } from "./ListingPrice.ts"

/** One model as a provider lists it, in our words. Null: the list does not say. @category schemas @since 0.1.0 */
export const ListedRow = Schema.Struct({
  nativeId: Schema.String,
  name: Schema.NullOr(Schema.String),
  contextLength: Schema.NullOr(Schema.Int),
  maxOutput: Schema.NullOr(Schema.Int),
  modality: Schema.String,
  created: Schema.NullOr(Schema.Int),
  openWeights: Schema.NullOr(Schema.Boolean),
  /** The repository of its weights on the Hugging Face Hub. */
  huggingFace: Schema.optionalKey(Schema.String),
  /** What it can do; null where the list is silent. */
  parameters: Schema.NullOr(Schema.Array(Schema.String)),
  free: Schema.Boolean,
  pricing: Schema.NullOr(PricingRow)
})
export type ListedRow = typeof ListedRow.Type

/** What a list held. @category models @since 0.1.0 */
export interface Listing {
  readonly rows: ReadonlyArray<ListedRow>
  /** Prices that nobody should believe, or that are odd. */
  readonly alarms: ReadonlyArray<string>
}

/** Rows of one list, at most. */
const MAX_ROWS = 20_000
const MAX_ID = 200

const inputs = ["text", "image", "audio", "video"]
const outputs = ["text", "image", "audio", "embedding"]

/** What kinds of models are in a list that names kinds instead of modalities; others are not served. */
const kinds: Readonly<Record<string, string>> = {
  chat: "text->text",
  language: "text->text",
  llm: "text->text",
  code: "text->text",
  "text-generation": "text->text",
  "text generation": "text->text",
  embedding: "text->embedding",
  embeddings: "text->embedding",
  image: "text->image",
  "text-to-image": "text->image",
  transcribe: "audio->text",
  transcription: "audio->text"
}

const at = (value: Json.Json | undefined, ...path: ReadonlyArray<string>): Json.Json | undefined =>
  path.reduce<Json.Json | undefined>((inner, key) => (Json.isObject(inner) ? inner[key] : undefined), value)

const firstOf = (row: Json.JsonObject, paths: ReadonlyArray<string>): Json.Json | undefined => {
  for (const path of paths) {
    const value = at(row, ...path.split("."))
    if (value !== undefined && value !== null) return value
  }
  return undefined
}

const countOf = (row: Json.JsonObject, paths: ReadonlyArray<string>): number | null => {
  const found = Json.count(firstOf(row, paths))
  return found > 0 && Number.isSafeInteger(found) ? found : null
}

const stringsOf = (value: Json.Json | undefined): ReadonlyArray<string> | null =>
  Json.isArray(value) ? value.flatMap((item) => (typeof item === "string" ? [item.toLowerCase()] : [])) : null

/** Null where it is nothing that is served. */
const modalityOf = (row: Json.JsonObject): string | null => {
  const given = Json.string(firstOf(row, ["architecture.modality", "modality"]))
  const [from, to] =
    given?.includes("->") === true
      ? given
          .toLowerCase()
          .split("->")
          .map((side) => side.split("+"))
      : [
          stringsOf(firstOf(row, ["architecture.input_modalities", "input_modalities"])),
          stringsOf(firstOf(row, ["architecture.output_modalities", "output_modalities"]))
        ]
  if (from !== undefined && from !== null && to !== undefined && to !== null) {
    const into = from.filter((kind) => inputs.includes(kind))
    const out = to.map((kind) => (kind === "embeddings" ? "embedding" : kind)).filter((kind) => outputs.includes(kind))
    return into.length === 0 || out.length === 0 ? null : `${into.join("+")}->${out.join("+")}`
  }
  const kind = Json.string(firstOf(row, ["type", "model_type", "task.name", "task"]))?.toLowerCase()
  if (kind === undefined || kind === "model") return "text->text"
  return kinds[kind] ?? null
}

const priceNames = {
  prompt: ["prompt", "input", "input_tokens", "cents_per_input_token", "input_token_price_per_m"],
  completion: ["completion", "output", "output_tokens", "cents_per_output_token", "output_token_price_per_m"],
  cachedRead: ["input_cache_read", "cached_input", "cache_read", "cache_read_tokens"],
  cacheWrite: ["input_cache_write", "cache_write", "cache_write_tokens"],
  reasoning: ["internal_reasoning"]
} as const

/** The price of a row; null where there is none that can be believed. Odd ones are told to `alarm`. */
const pricingOf = (row: Json.JsonObject, unit: PriceUnit, alarm: (what: string) => void): typeof PricingRow.Type | null => {
  const found = firstOf(row, ["pricing", "metadata.pricing", "price"])
  const prices = Json.isObject(found) ? found : row
  const read = (name: keyof typeof priceNames) => perToken(firstOf(prices, priceNames[name]), unit)
  const prompt = read("prompt")
  const completion = read("completion") ?? (modalityOf(row)?.endsWith("->embedding") === true ? Money.zero : null)
  if (prompt === null || completion === null) return null
  const verdicts = [prompt, completion].map(judge)
  const told = `${Money.toUsd(prompt)} and ${Money.toUsd(completion)} USD per token`
  if (verdicts.includes("unbelievable")) {
    alarm(`${told}: not believed`)
    return null
  }
  if (verdicts.includes("odd")) alarm(`${told}: unusually low`)
  const more: Record<string, string> = {}
  for (const name of ["cachedRead", "cacheWrite", "reasoning"] as const) {
    const price = read(name)
    if (price !== null && price > 0n && judge(price) !== "unbelievable") more[name] = Money.toUsd(price)
  }
  const request = perToken(prices["request"], "token")
  if (request !== null && request > 0n) more["request"] = Money.toUsd(request)
  return { prompt: Money.toUsd(prompt), completion: Money.toUsd(completion), ...more }
}

const isZero = (pricing: typeof PricingRow.Type): boolean => [pricing.prompt, pricing.completion].every((price) => price === "0.00")

const parameterNames = ["supported_parameters", "supported_features", "tags"]

const parametersOf = (row: Json.JsonObject): ReadonlyArray<string> | null => {
  const listed = stringsOf(firstOf(row, parameterNames))
  const capabilities = row["capabilities"]
  const named = Json.isObject(capabilities) ? Object.entries(capabilities).flatMap(([name, value]) => (value === true ? [name] : [])) : null
  return listed === null && named === null ? null : [...(listed ?? []), ...(named ?? [])]
}

const readRow = (row: Json.Json, unit: PriceUnit, alarms: Array<string>): ListedRow | null => {
  if (!Json.isObject(row)) return null
  const id = (Json.string(firstOf(row, ["id", "model", "name"])) ?? "").trim().replace(/^models\//, "")
  if (id === "" || id.length > MAX_ID || /\s/.test(id)) return null
  const modality = modalityOf(row)
  if (modality === null) return null
  const pricing = pricingOf(row, unit, (what) => alarms.push(`${id}: ${what}`))
  // Nothing is free because a list leaves its price out: it has to say so by its name.
  const free = pricing !== null && isZero(pricing) && id.endsWith(":free")
  const huggingFace = row["hugging_face_id"]
  return {
    nativeId: id,
    name: Json.string(firstOf(row, ["display_name", "displayName", "name"]))?.slice(0, MAX_ID) ?? null,
    contextLength: countOf(row, [
      "context_length",
      "context_window",
      "max_context_length",
      "max_model_len",
      "context_size",
      "inputTokenLimit",
      "metadata.context_length",
      "top_provider.context_length"
    ]),
    maxOutput: countOf(row, [
      "top_provider.max_completion_tokens",
      "max_completion_tokens",
      "max_output_tokens",
      "outputTokenLimit",
      "metadata.max_tokens"
    ]),
    modality,
    created: countOf(row, ["created"]),
    openWeights: typeof huggingFace === "string" ? huggingFace !== "" : null,
    ...(typeof huggingFace === "string" && isRepository(huggingFace) ? { huggingFace } : {}),
    parameters: parametersOf(row),
    free,
    pricing: pricing !== null && isZero(pricing) && !free ? null : pricing
  }
}

/** Reads a list; null where the text is none. @category parsers @since 0.1.0 */
export const readListing = (provider: string, text: string): Listing | null => {
  const body = Json.parse(text)
  const found = Json.isArray(body) ? body : [at(body, "data"), at(body, "models"), at(body, "result")].find(Json.isArray)
  if (!Json.isArray(found) || found.length > MAX_ROWS) return null
  const alarms: Array<string> = []
  const rows = new Map<string, ListedRow>()
  for (const item of found) {
    const row = readRow(item, unitOf(provider), alarms)
    if (row !== null && !rows.has(row.nativeId)) rows.set(row.nativeId, row)
  }
  return { rows: [...rows.values()], alarms }
}
