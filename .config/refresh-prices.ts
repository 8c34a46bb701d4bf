/**
 * `npm run prices`: holds the shipped prices against a maintained source and prints what differs; `-- --write` takes it over,
 * to be reviewed as a difference of the data file; `--file=` names another one.
 * Images, audio, embeddings and free models are left alone, and so is what the source does not know.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { calcPrice } from "@pydantic/genai-prices"
import * as Money from "../schemas/Money.ts"
import { perToken } from "../src/catalog/ListingPrice.ts"
import table from "../src/catalog/repositories.json" with { type: "json" }

interface Tier {
  readonly aboveInput: number
  readonly prompt: string
  readonly completion: string
  readonly cachedRead?: string
  readonly cacheWrite?: string
}

interface Pricing {
  readonly prompt: string
  readonly completion: string
  readonly cachedRead?: string
  readonly cacheWrite?: string
  readonly image?: string
  readonly audioSecond?: string
  readonly tiers?: ReadonlyArray<Tier>
}

interface Row {
  readonly id: string
  readonly free: boolean
  readonly modality: string
  pricing: Pricing | null
  readonly providers: ReadonlyArray<{ readonly slug: string; readonly nativeId: string; pricing?: Pricing }>
}

const repositories: Readonly<Record<string, string>> = table
const given = process.argv.find((argument) => argument.startsWith("--file="))?.slice("--file=".length)
const file = given ?? join(dirname(dirname(fileURLToPath(import.meta.url))), "src", "catalog", "models.json")

/** Providers by the source's names for them, the first that knows a model. */
const sources: Readonly<Record<string, ReadonlyArray<string>>> = {
  openai: ["openai"],
  anthropic: ["anthropic"],
  "google-vertex": ["google"],
  "google-ai-studio": ["google"],
  openrouter: ["openrouter"],
  groq: ["groq"],
  together: ["together"],
  fireworks: ["fireworks"],
  deepseek: ["deepseek"],
  mistral: ["mistral"],
  xai: ["x-ai"],
  cerebras: ["cerebras"],
  moonshot: ["moonshotai"],
  perplexity: ["perplexity"],
  cohere: ["cohere"],
  "aws-bedrock": ["aws"],
  novita: ["huggingface_novita", "novita"],
  nebius: ["huggingface_nebius"],
  sambanova: ["huggingface_sambanova"],
  "cloudflare-workers-ai": ["cloudflare"],
  minimax: ["minimax"],
  zai: ["zai"]
}

type Price = number | { readonly base: number; readonly tiers: ReadonlyArray<{ readonly start: number; readonly price: number }> }

const isPrice = (value: unknown): value is Price =>
  typeof value === "number" || (typeof value === "object" && value !== null && "base" in value && "tiers" in value)

const usd = (perMillion: number): string => Money.toUsd(perToken(perMillion, "million") ?? Money.zero)

const classes = { prompt: "input_mtok", completion: "output_mtok", cachedRead: "cache_read_mtok", cacheWrite: "cache_write_mtok" } as const

const hours = Array.from({ length: 24 }, (_, hour) => new Date(new Date().setUTCHours(hour, 0, 0, 0)))

/** The source's entry at the dearest hour of the day: what is charged must never be below what the provider asks. */
const dearest = (providerId: string, nativeId: string) =>
  hours
    .map((timestamp) => calcPrice({ input_tokens: 1_000, output_tokens: 1_000 }, nativeId, { providerId, timestamp }))
    .reduce((most, next) => ((next?.total_price ?? 0) > (most?.total_price ?? 0) ? next : most))

/** What Hugging Face resells is known by the name of its repository. */
const entryOf = (slug: string, nativeId: string, repository: string | undefined) => {
  for (const providerId of sources[slug] ?? []) {
    const named = providerId.startsWith("huggingface_") ? repository : undefined
    const found = dearest(providerId, nativeId) ?? (named === undefined ? null : dearest(providerId, named))
    if (found !== null) return found
  }
  return null
}

/** What the source says a model costs at a provider; null where it does not know it. */
const lookUp = (slug: string, nativeId: string, repository: string | undefined): Pricing | null => {
  const found = entryOf(slug, nativeId, repository)
  if (found === null) return null
  const prices = Object.entries(classes).flatMap(([name, key]) => {
    const price: unknown = found.model_price[key]
    return isPrice(price) ? [[name, price] as const] : []
  })
  const at = (start: number | null): Record<string, string> =>
    Object.fromEntries(
      prices.flatMap(([name, price]) => {
        if (start === null) return [[name, usd(typeof price === "number" ? price : price.base)]]
        const tier = typeof price === "number" ? undefined : price.tiers.find((candidate) => candidate.start === start)
        return tier === undefined ? [] : [[name, usd(tier.price)]]
      })
    )
  const { completion, prompt, ...others } = at(null)
  if (prompt === undefined || completion === undefined) return null
  const starts = [...new Set(prices.flatMap(([, price]) => (typeof price === "number" ? [] : price.tiers.map((tier) => tier.start))))]
  const tiers = starts
    .sort((a, b) => a - b)
    .map((aboveInput): Tier => {
      const tier = at(aboveInput)
      return { aboveInput, prompt, completion, ...tier }
    })
  return { prompt, completion, ...others, ...(tiers.length === 0 ? {} : { tiers }) }
}

const shown = (pricing: Pricing | null | undefined): string => JSON.stringify(pricing ?? null)

/** The same price in the same words, whatever the order of its parts. */
const canonical = (pricing: Pricing | null | undefined): string =>
  JSON.stringify(pricing, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : typeof value === "string"
        ? Money.toUsd(Money.usd(value))
        : value
  )

const rows: ReadonlyArray<Row> = JSON.parse(readFileSync(file, "utf8"))
/** Whether the source speaks of what is paid for. */
const isByTokens = (row: Row): boolean =>
  !row.free && !row.modality.endsWith("embedding") && row.pricing?.image === undefined && row.pricing?.audioSecond === undefined

let differences = 0
for (const row of rows) {
  if (!isByTokens(row)) continue
  for (const provider of row.providers) {
    const fresh = lookUp(provider.slug, provider.nativeId, repositories[row.id])
    if (fresh === null || canonical(fresh) === canonical(provider.pricing ?? row.pricing)) continue
    differences++
    console.log(`${row.id} at ${provider.slug}\n  - ${shown(provider.pricing)}\n  + ${shown(fresh)}`)
    // The price of a model where a provider has none of its own follows the provider it was taken from.
    if (canonical(row.pricing) === canonical(provider.pricing)) row.pricing = fresh
    provider.pricing = fresh
  }
}
for (const row of rows) {
  const prices = row.providers.flatMap(({ pricing }) => (pricing === undefined ? [] : [canonical(pricing)]))
  if (!isByTokens(row) || prices.length === 0 || prices.includes(canonical(row.pricing))) continue
  console.log(`${row.id}: its own price, where a provider has none, is no provider's: ${shown(row.pricing)}`)
}
console.log(differences === 0 ? "Every price is as the source has it." : `${differences} prices differ.`)
if (process.argv.includes("--write") && differences > 0) {
  writeFileSync(file, `[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`)
  console.log("Written. Look at the difference before you commit it.")
}
