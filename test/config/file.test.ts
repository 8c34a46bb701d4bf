/**
 * The configuration file: what it says, what it is refused for, and that one description holds for all of it.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeServices } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import { Yaml } from "effect/encoding"
import * as ConfigFile from "../../layers/ConfigFile.ts"
import * as LiteLlmConfig from "../../layers/LiteLlmConfig.ts"
import { FileValues, Noted } from "../../layers/SettingReaders.ts"
import * as Settings from "../../layers/Settings.ts"
import { yamlText } from "../../layers/YamlText.ts"
import { definitions } from "../../src/providers/RegistryData.ts"
import { temporaryDirectory } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

type Env = Readonly<Record<string, string>>

const read = (yaml: string, env: Env = {}) =>
  Effect.flatMap(ConfigFile.decode("sluice.yaml", yaml), Settings.under).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env))
  )

const refusal = (yaml: string, env: Env = {}) => Effect.runSync(Effect.flip(read(yaml, env))).message

describe("sluice.yaml", () => {
  it.effect("says the same as the environment, which wins", () =>
    Effect.gen(function* () {
      const yaml = `
port: 9001
host: \${BIND:-0.0.0.0}
response_cache: true
trust_proxy: off
otel_sdk_disabled: yes
webhook_allowed_networks: [10.0.0.0/8, "fd00::/8"]
oidc_issuers:
  https://accounts.google.com: client-1
  https://login.example.com: [client-2, client-3]
metrics_token: \${TOKEN}
breaker_failures:
`
      const settings = yield* read(yaml, { TOKEN: "t0ken", PORT: "9002", HOST: "" })
      assert.deepInclude(settings, { port: 9_002, host: "0.0.0.0", responseCache: true, trustProxy: 0, breakerFailures: 5 })
      assert.strictEqual(settings.metricsToken === null ? null : Redacted.value(settings.metricsToken), "t0ken")
      assert.deepStrictEqual(settings.webhookAllowedNetworks.map(String), ["10.0.0.0/8", "fd00::/8"])
      assert.deepStrictEqual(settings.oidcIssuers, [
        { issuer: "https://accounts.google.com", audiences: ["client-1"] },
        { issuer: "https://login.example.com", audiences: ["client-2", "client-3"] }
      ])
    })
  )

  it.effect("keys known providers and adds new ones, of each protocol, with and without a key", () =>
    Effect.gen(function* () {
      const yaml = `
providers:
  openai: {api_key: "\${OPENAI_KEY}", base_url: "http://127.0.0.1:9/v1", headers: {openai-project: p1}}
  google: {variables: {project: mine}}
  vllm: {protocol: openai, base_url: "http://10.0.0.5:8000/v1/"}
  own-claude: {protocol: anthropic, base_url: "https://claude.example.com/v1", api_key: k, auth: {header: authorization, format: "Bearer {key}"}}
`
      const { definitions, providers } = yield* read(yaml, { OPENAI_KEY: "sk-1", VLLM_API_KEY: "" })
      const openai = providers.get("openai")
      assert.deepInclude(openai, { baseUrl: "http://127.0.0.1:9/v1", headers: { "openai-project": "p1" } })
      assert.strictEqual(openai?.apiKey === undefined ? null : Redacted.value(openai.apiKey), "sk-1")
      assert.deepInclude(providers.get("vllm"), { isKeyless: true })
      assert.isUndefined(providers.get("own-claude")?.isKeyless)
      const [vllm, claude] = definitions.slice(-2)
      assert.deepInclude(vllm, {
        slug: "vllm",
        protocol: "openai",
        baseUrl: "http://10.0.0.5:8000/v1",
        chatPath: "/chat/completions",
        modelsPath: null
      })
      assert.deepInclude(claude, { slug: "own-claude", protocol: "anthropic", chatPath: "/messages", keyNames: ["OWN_CLAUDE_API_KEY"] })
      assert.deepInclude(claude?.auth, { header: "authorization", format: "Bearer {key}" })
    })
  )

  it.effect("adds models, prices known ones anew, names aliases, routes and weights", () =>
    Effect.gen(function* () {
      const yaml = `
providers:
  vllm: {protocol: openai, base_url: "http://10.0.0.5:8000/v1"}
models:
  - id: acme/chat
    aliases: [Chat]
    context_length: 32768
    supports: [tools, vision]
    price_per_million: {input: 0.15, output: "0.60", cached_read: 0.075}
    providers:
      - {provider: vllm, native_id: acme-chat-70b}
  - id: openai/gpt-4o
    price_per_million: {input: 3, output: 12}
    providers:
      - {provider: vllm, price_per_million: {input: 1, output: 2}}
aliases: {Best: gpt-4o}
routes: {Smart: [acme/chat, best]}
weights: {best: {openai: 3, vllm: 1}}
`
      const { catalog, routes, weights } = yield* read(yaml)
      const { aliases, models } = catalog()
      const acme = models.find(({ model }) => model.id === "acme/chat")
      assert.deepInclude(acme?.model, { contextLength: 32_768, name: "chat" })
      assert.deepInclude(acme?.model.supports, { tools: true, vision: true, json_schema: false })
      const [row] = acme?.model.providers ?? []
      assert.deepInclude(row, { slug: "vllm", nativeId: "acme-chat-70b" })
      assert.deepStrictEqual([row?.pricing?.prompt, row?.pricing?.completion, row?.pricing?.cachedRead].map(String), [
        "150000",
        "600000",
        "75000"
      ])
      const gpt = models.find(({ model }) => model.id === "openai/gpt-4o")?.model
      const prices = Object.fromEntries((gpt?.providers ?? []).map(({ pricing, slug }) => [slug, String(pricing?.prompt)]))
      assert.deepInclude(prices, { vllm: "1000000", openai: "3000000", openrouter: "3000000" })
      assert.strictEqual(aliases.get("chat"), "acme/chat")
      assert.strictEqual(aliases.get("best"), "openai/gpt-4o")
      assert.deepStrictEqual(routes.get("smart"), ["acme/chat", "best"])
      assert.deepStrictEqual(weights, { "openai/gpt-4o": { openai: 3, vllm: 1 } })
    })
  )

  it("is refused with the place, what it got and what it takes; secrets are not shown", () => {
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ["port: many", /^sluice\.yaml: port is "many", but it takes a whole number from 0 to 65535\.$/],
      ["prot: 80", /^sluice\.yaml: prot is no setting; `port` is/],
      ["PORT: 80", /PORT is no setting: settings are the environment's names in lower case/],
      ["key_hash_secret: short-secret", /key_hash_secret is "\(redacted\)", but it takes at least 32 characters/],
      [`admin_api_key: \${NOT_SET}`, /admin_api_key refers to \$\{NOT_SET\}, which is not set/],
      ["port: {a: 1}", /port is "a=1", but it takes a whole number/],
      ["semantic_cache_model: gpt-4o", /semantic_cache_model is "gpt-4o", but it takes an embedding model of the catalog/],
      ["semantic_cache_model: nobody/nothing", /semantic_cache_model is "nobody\/nothing", but it takes an embedding model/],
      ["host: [[1]]", /host takes one value, a list of values, or pairs/],
      ["- a", /must hold settings such as/],
      ["port: 1\n- bad", /^sluice\.yaml is no YAML: .*line 2/],
      [
        "providers: {opnai: {api_key: sk-secret}}",
        /providers\.opnai is none that is known \(openai is\); a new one needs `protocol` and `base_url`/
      ],
      ["providers: {openai: {api_key: [sk-secret]}}", /providers\.openai\.api_key is \(redacted\), expected string/],
      ["providers: {openai: {protocol: openai}}", /providers\.openai\.protocol is for new providers/],
      ["providers: {openai: {base_url: 'ftp://x'}}", /providers\.openai\.base_url is "ftp:\/\/x"/],
      ["models: [{id: a/b, context_length: long}]", /models\.0\.context_length is "long", expected/],
      ["models: [{id: a/b, contxt: 1}]", /models\.0\.contxt is 1, expected no such key/],
      ["models: [{id: a/b}]", /models\.0 \(a\/b\) is new and needs `providers`/],
      [
        "models: [{id: a/b, providers: [{provider: openai}]}]",
        /models\.0 \(a\/b\) has no price at openai: say `price_per_million`, or `free: true`/
      ],
      ["models: [{id: a/b, free: true, providers: [{provider: nobody}]}]", /provider is "nobody", which is no provider/],
      ["aliases: {x: no/such}", /aliases\.x is "no\/such", which is no model of the catalog/],
      ["weights: {gpt-4o: {nobody: 1}}", /weights\.gpt-4o\.nobody is no provider/],
      ["routes: {x: []}", /routes\.x is \[\], expected/]
    ]
    for (const [yaml, message] of cases) {
      const said = refusal(yaml)
      assert.match(said, message, yaml)
      assert.notMatch(said, /sk-secret|short-secret/)
    }
  })

  const directory = temporaryDirectory()
  afterAll(() => directory.remove())

  it.effect("is the file that SLUICE_CONFIG names; none where there is none", () =>
    Effect.gen(function* () {
      const path = join(directory.path, "named.yaml")
      writeFileSync(path, "port: 7001\n")
      const load = (env: Env) =>
        Effect.provideService(Settings.readForTools, ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env))
      assert.strictEqual((yield* load({ SLUICE_CONFIG: path })).port, 7_001)
      assert.strictEqual((yield* load({})).port, 8_080)
      assert.match((yield* Effect.flip(load({ SLUICE_CONFIG: `${path}.not` }))).message, /there is no such file/)
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

describe("one description of all settings", () => {
  it.effect("the README names no setting that is not read", () =>
    Effect.map(Settings.facts, (facts) => {
      const names = new Set(facts.map(({ name }) => name))
      const ofProviders = JSON.stringify(definitions)
      const told = readFileSync(join(root, "README.md"), "utf8")
        .split("\n")
        .filter((line) => /^\| `[A-Z_]+`/.test(line))
        .flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`([A-Z][A-Z_]+)`/g)].map((match) => match[1] ?? ""))
      assert.isAbove(told.length, 10)
      assert.deepStrictEqual(
        told.filter((name) => !names.has(name) && !ofProviders.includes(`"${name}"`)),
        []
      )
    })
  )

  it.effect("the bounds that are told are the ones that hold", () =>
    Effect.gen(function* () {
      for (const { fallback, kind, least = 0, most = 0, name, options = [] } of yield* Settings.facts) {
        const seen: Array<string | null> = []
        const attempt = (value: string) =>
          Effect.result(
            Settings.under(ConfigFile.none).pipe(
              Effect.provideService(Noted, (fact, got) => void (fact.name === name && seen.push(got))),
              Effect.provideService(FileValues, new Map()),
              Effect.provideService(
                ConfigProvider.ConfigProvider,
                ConfigProvider.fromUnknown({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://h", MODERATION_URL: "http://h", [name]: value })
              )
            )
          )
        if (kind === "choice")
          for (const option of options) assert.strictEqual((yield* attempt(option))._tag, "Success", `${name}=${option}`)
        if (kind === "choice") assert.strictEqual((yield* attempt("something else"))._tag, "Failure", name)
        if (kind !== "whole") continue
        assert.isTrue(typeof fallback === "number" && fallback >= least && fallback <= most, name)
        const [below, above] = [yield* attempt(String(least - 1)), yield* attempt(String(most + 1))]
        // Below one there may be a word for it: 0 is off.
        if (least > 1) assert.strictEqual(below._tag, "Failure", name)
        assert.strictEqual(above._tag, "Failure", name)
        for (const value of [least, most]) assert.strictEqual((yield* attempt(String(value)))._tag, "Success", `${name}=${value}`)
        assert.include(seen, String(most))
      }
    })
  )
})

describe("taking over a LiteLLM configuration", () => {
  const litellm = `
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 100}
  - model_name: fast
    litellm_params: {model: groq/llama-3.3-70b-versatile, api_key: os.environ/GROQ_API_KEY, weight: 3}
  - model_name: local
    litellm_params: {model: hosted_vllm/acme-70b, api_base: "http://10.0.0.5:8000/v1", input_cost_per_token: 0.0000005, output_cost_per_token: 1.5e-6}
    model_info: {max_input_tokens: 32768}
  - model_name: unknown
    litellm_params: {model: nowhere/thing}
  - model_name: "*"
    litellm_params: {model: "openai/*"}
router_settings: {routing_strategy: simple-shuffle, fallbacks: [{gpt-4o: [fast, local]}]}
general_settings: {master_key: os.environ/MASTER_KEY, database_url: "postgres://x"}
`
  const parsed = () => JSON.parse(JSON.stringify(Yaml.parse(litellm)))

  it.effect("gives a file that is understood here, and tells what it leaves out", () =>
    Effect.gen(function* () {
      const { notes, yaml } = LiteLlmConfig.convert(parsed())
      const settings = yield* read(yaml, { OPENAI_API_KEY: "a", GROQ_API_KEY: "b", MASTER_KEY: "m" })
      assert.strictEqual(settings.adminApiKey === null ? null : Redacted.value(settings.adminApiKey), "m")
      assert.containsAllKeys(Object.fromEntries(settings.providers), ["openai", "groq", "at-10-0-0-5-8000"])
      assert.deepStrictEqual(settings.routes.get("gpt-4o"), ["gpt-4o", "meta-llama/llama-3.3-70b-instruct", "custom/local"])
      const local = settings.catalog().models.find(({ model }) => model.id === "custom/local")
      assert.deepInclude(local?.model, { contextLength: 32_768 })
      assert.strictEqual(local?.model.providers[0]?.pricing?.completion, 1_500_000n)
      assert.deepStrictEqual(settings.weights, { "meta-llama/llama-3.3-70b-instruct": { groq: 3 } })
      const told = notes.join("\n")
      for (const left of [/rpm and tpm/, /model \*: patterns/, /no provider nowhere/, /routing_strategy/, /database_url/])
        assert.match(told, left)
    })
  )

  it("writes YAML that reads back as what was written", () => {
    const value = { a: "on", b: [1, "x: y", { c: null, "d e": ["# no comment", `\${X}`] }], empty: {}, list: [], text: "- dash", n: "007" }
    assert.deepStrictEqual(Yaml.parse(yamlText(value)), value)
  })
})
