/**
 * The commands about models and the providers that serve them.
 *
 * @since 0.1.0
 */
import { Console, Data, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { printJson, table } from "./Printing.ts"
import { json, url } from "./ServerFlags.ts"

/** A model as `GET /v1/models` has it. @category models @since 0.1.0 */
export interface ModelRow {
  readonly id: string
  readonly name: string
  readonly modality: string
  readonly context_length: number
  readonly free: boolean
  readonly pricing: Readonly<Record<string, unknown>> | null
  readonly providers: ReadonlyArray<{
    readonly slug: string
    readonly native_id: string
    readonly pricing: Readonly<Record<string, unknown>> | null
  }>
}

/** @category models @since 0.1.0 */
export interface ProviderRow {
  readonly slug: string
  readonly name: string
  readonly protocol: string
  readonly active: boolean
  readonly models: number
  readonly breaker: string
}

/** What became of one provider's list. @category models @since 0.1.0 */
export interface SyncRow {
  readonly provider: string
  readonly status: string
  readonly models: number
  readonly added: number
  readonly changed: number
  readonly deactivated: number
  readonly error: string | null
}

/** A price to look at: missing, or hardly to be believed. @category models @since 0.1.0 */
export interface PriceFinding {
  readonly model: string
  readonly provider: string
  readonly finding: string
}

/** How a provider was found. @category models @since 0.1.0 */
export interface ProviderTest {
  readonly provider: string
  readonly ok: boolean
  readonly detail: string
  readonly latency_ms: number
}

/** @category models @since 0.1.0 */
export interface ModelQuery {
  readonly q: string | null
  readonly provider: string | null
  /** Also models whose providers have no key. */
  readonly all: boolean
}

/** What these commands ask: of a running server where one is, else of the settings themselves. @category models @since 0.1.0 */
export interface CatalogDesk<E, R> {
  readonly models: (query: ModelQuery, url: string | null) => Effect.Effect<ReadonlyArray<ModelRow>, E, R>
  readonly model: (name: string, url: string | null) => Effect.Effect<ModelRow, E, R>
  /** Every active provider's list where none is named. */
  readonly sync: (provider: string | null, url: string | null) => Effect.Effect<ReadonlyArray<SyncRow>, E, R>
  readonly checkPrices: Effect.Effect<ReadonlyArray<PriceFinding>, E, R>
  readonly providers: (url: string | null) => Effect.Effect<ReadonlyArray<ProviderRow>, E, R>
  /** Every active provider where none is named. */
  readonly test: (providers: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<ProviderTest>, E, R>
}

/** Something is not as it should be; what was printed. @category errors @since 0.1.0 */
export class NotAllWell extends Data.TaggedError("NotAllWell")<{ readonly message: string }> {}

/** USD per token as USD per million of them. */
const perMillion = (price: unknown): string => {
  const match = typeof price === "string" ? /^(\d+)\.(\d+)$/.exec(price) : null
  if (match === null) return ""
  const digits = `${match[1]}${(match[2] ?? "").padEnd(6, "0").slice(0, 6)}`.replace(/^0+(?=\d)/, "")
  const rest = (match[2] ?? "").slice(6).replace(/0+$/, "")
  return rest === "" ? digits : `${digits}.${rest}`
}

const modelTable = (rows: ReadonlyArray<ModelRow>) =>
  table([
    ["MODEL", "PROVIDERS", "INPUT $/M", "OUTPUT $/M", "CONTEXT", "KIND"],
    ...rows.map((row) => [
      row.id,
      row.providers.map(({ slug }) => slug).join(","),
      row.free ? "free" : perMillion(row.pricing?.["prompt"]),
      row.free ? "free" : perMillion(row.pricing?.["completion"]),
      String(row.context_length),
      row.modality
    ])
  ])

const provider = Flag.String("provider").pipe(Flag.withDescription("Only what this provider serves"), Flag.optional)

const listModels = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make(
    "list",
    {
      words: Argument.String("words").pipe(Argument.withDescription("To be found in the id or the name"), Argument.optional),
      provider,
      all: Flag.Boolean("all").pipe(Flag.withDescription("Also models whose providers have no key"), Flag.withDefault(false)),
      url,
      json
    },
    (flags) =>
      Effect.gen(function* () {
        const query = { q: Option.getOrNull(flags.words), provider: Option.getOrNull(flags.provider), all: flags.all }
        const rows = yield* desk.models(query, Option.getOrNull(flags.url))
        if (flags.json) return yield* printJson({ data: rows })
        yield* rows.length === 0 ? Console.log("No model; --all shows those whose providers have no key.") : Console.log(modelTable(rows))
      })
  ).pipe(
    Command.withDescription("Models, who serves them and what they cost"),
    Command.withExamples([
      { command: "sluice models list llama --all", description: "Every llama that is known" },
      { command: "sluice models list --provider groq --json", description: "For machines" }
    ])
  )

const showModel = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make("show", { model: Argument.String("model").pipe(Argument.withDescription("Id or alias")), url, json }, (flags) =>
    Effect.gen(function* () {
      const row = yield* desk.model(flags.model, Option.getOrNull(flags.url))
      if (flags.json) return yield* printJson(row)
      yield* Console.log(`${row.id} (${row.name}), ${row.modality}, context ${row.context_length}${row.free ? ", free" : ""}\n`)
      const rows = row.providers.map((each) => [
        each.slug,
        each.native_id,
        perMillion(each.pricing?.["prompt"]),
        perMillion(each.pricing?.["completion"])
      ])
      yield* Console.log(table([["PROVIDER", "ITS ID", "INPUT $/M", "OUTPUT $/M"], ...rows]))
    })
  ).pipe(
    Command.withDescription("One model at each of its providers"),
    Command.withExamples([{ command: "sluice models show gpt-4o", description: "By any of its names" }])
  )

const sync = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make("sync", { provider: Argument.String("provider").pipe(Argument.optional), url, json }, (flags) =>
    Effect.gen(function* () {
      const rows = yield* desk.sync(Option.getOrNull(flags.provider), Option.getOrNull(flags.url))
      if (flags.json) yield* printJson({ data: rows })
      else {
        const cells = rows.map((row) => [
          row.provider,
          row.status,
          ...[row.models, row.added, row.changed, row.deactivated].map(String),
          row.error ?? ""
        ])
        yield* Console.log(
          rows.length === 0
            ? "No provider that is switched on lists its models."
            : table([["PROVIDER", "STATUS", "MODELS", "NEW", "CHANGED", "GONE", "WHY"], ...cells])
        )
      }
      const failed = rows.filter((row) => row.error !== null)
      if (failed.length > 0) return yield* new NotAllWell({ message: `${failed.length} lists could not be read; the last good ones stay` })
    })
  ).pipe(
    Command.withDescription("Have a running server read the providers' lists of models now"),
    Command.withExamples([{ command: "sluice models sync openrouter --url http://127.0.0.1:8080", description: "One provider's" }])
  )

const checkPrices = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make("check-prices", { json }, (flags) =>
    Effect.gen(function* () {
      const rows = yield* desk.checkPrices
      if (flags.json) yield* printJson({ ok: rows.length === 0, data: rows })
      else if (rows.length === 0) yield* Console.log("Every model of a provider that is switched on has a price of its own.")
      else yield* Console.log(table([["MODEL", "PROVIDER", "WHAT"], ...rows.map((row) => [row.model, row.provider, row.finding])]))
      if (rows.length > 0) return yield* new NotAllWell({ message: `${rows.length} prices to look at` })
    })
  ).pipe(
    Command.withDescription(
      "Look for models without a price of their own, and for prices that are hardly to be believed; exits with 1 when there are any"
    ),
    Command.withExamples([{ command: "sluice models check-prices --json", description: "For machines" }])
  )

/** `sluice models …`. @category constructors @since 0.1.0 */
export const models = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make("models").pipe(
    Command.withDescription("Models: list, show, read providers' lists, look at prices"),
    Command.withSubcommands([listModels(desk), showModel(desk), sync(desk), checkPrices(desk)])
  )

const listProviders = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make(
    "list",
    { all: Flag.Boolean("all").pipe(Flag.withDescription("Also those without a key"), Flag.withDefault(false)), url, json },
    (flags) =>
      Effect.gen(function* () {
        const rows = (yield* desk.providers(Option.getOrNull(flags.url))).filter((row) => flags.all || row.active)
        if (flags.json) return yield* printJson({ data: rows })
        const cells = rows.map((row) => [row.slug, row.name, row.protocol, row.active ? "on" : "off", String(row.models), row.breaker])
        yield* Console.log(table([["PROVIDER", "NAME", "PROTOCOL", "STATE", "MODELS", "CIRCUIT"], ...cells]))
      })
  ).pipe(
    Command.withDescription("Providers that are switched on, and their circuits"),
    Command.withExamples([{ command: "sluice providers list --all", description: "Also those without a key" }])
  )

const testProviders = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make("test", { providers: Argument.String("provider").pipe(Argument.between(0, 100)), json }, (flags) =>
    Effect.gen(function* () {
      const rows = yield* desk.test(flags.providers)
      if (flags.json) yield* printJson({ data: rows })
      else if (rows.length === 0) yield* Console.log("No provider is switched on: set a key such as OPENAI_API_KEY.")
      else yield* Console.log(table(rows.map((row) => [row.ok ? "ok" : "FAILED", row.provider, `${row.latency_ms} ms`, row.detail])))
      const failed = rows.filter((row) => !row.ok)
      if (failed.length > 0) return yield* new NotAllWell({ message: `${failed.map((row) => row.provider).join(", ")} cannot be used` })
    })
  ).pipe(
    Command.withDescription(
      "Ask providers for their list of models with the keys of the settings: costs nothing; exits with 1 when one fails"
    ),
    Command.withExamples([
      { command: "sluice providers test", description: "Every one that is switched on" },
      { command: "sluice providers test openai groq", description: "Two of them" }
    ])
  )

/** `sluice providers …`. @category constructors @since 0.1.0 */
export const providers = <E, R>(desk: CatalogDesk<E, R>) =>
  Command.make("providers").pipe(
    Command.withDescription("Providers: list, test"),
    Command.withSubcommands([listProviders(desk), testProviders(desk)])
  )
