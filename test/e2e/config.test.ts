/**
 * A server under a configuration file: a provider that no code knows, models and routes by name; and `sluice config`.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { pico } from "../support/house.ts"
import { type Customer, creditsOf, jsonCall, newCustomer, type RunningServer, startServer, temporaryDirectory } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const sluice = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) => {
  const done = spawnSync(process.execPath, [join(root, "dist", "sluice.js"), ...args], {
    encoding: "utf8",
    env: { PATH: process.env["PATH"] ?? "", ...env }
  })
  return { code: done.status, out: done.stdout, err: done.stderr }
}

interface Chat {
  readonly model: string
  readonly choices: ReadonlyArray<{ readonly message: { readonly content: string } }>
}

describe("a server under sluice.yaml", () => {
  const directory = temporaryDirectory()
  const path = join(directory.path, "sluice.yaml")
  let own: MockProvider
  let openai: MockProvider
  let server: RunningServer
  let customer: Customer

  beforeAll(async () => {
    own = await startMockProvider()
    openai = await startMockProvider()
    writeFileSync(
      path,
      `
data_dir: ${join(directory.path, "data")}
log_level: warn
providers:
  openai:
    api_key: \${KEY_OF_OPENAI}
    base_url: ${openai.url}
  own-claude:
    protocol: anthropic
    base_url: ${own.url}
    api_key: sk-own
    auth: {header: authorization, format: "Bearer {key}"}
  local:
    protocol: openai
    base_url: ${own.url}
models:
  - id: acme/chat
    aliases: [chat]
    context_length: 32768
    max_output: 1000
    price_per_million: {input: 1, output: 2}
    providers:
      - {provider: local, native_id: acme-70b}
  - id: acme/claude
    price_per_million: {input: 3, output: 15}
    providers:
      - {provider: own-claude, native_id: acme-claude}
routes:
  smart: [acme/chat, gpt-4o]
`
    )
    server = await startServer({ SLUICE_CONFIG: path, KEY_OF_OPENAI: "sk-openai" })
    customer = await newCustomer(server, { balanceUsd: "1" })
  })
  afterAll(async () => {
    await server?.stop()
    await own?.close()
    await openai?.close()
    directory.remove()
  })

  const chat = (model: string) =>
    jsonCall<Chat>(server.url, customer.key, "POST", "/v1/chat/completions", {
      model,
      max_tokens: 50,
      messages: [{ role: "user", content: "hello" }]
    })

  it("serves a model of a new provider by id and alias, at the price of the file, without a key", async () => {
    const before = await creditsOf(server, customer.key)
    own.script({ usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 } })
    const { body, headers, status } = await chat("Chat")
    assert.deepStrictEqual([status, body.model], [200, "acme/chat"])
    assert.strictEqual(headers.get("x-sluice-provider"), "local")
    assert.strictEqual(headers.get("x-sluice-cost-usd"), "0.00012")
    const after = await creditsOf(server, customer.key)
    assert.strictEqual(pico(before.available_usd) - pico(after.available_usd), 120_000_000n)
    const call = own.calls().at(-1)
    assert.isUndefined(call?.headers["authorization"])
    assert.deepInclude(call?.body, { model: "acme-70b" })
    const row = await jsonCall<{ providers: ReadonlyArray<{ slug: string }> }>(server.url, null, "GET", "/v1/models/acme/chat")
    assert.deepStrictEqual(
      row.body.providers.map(({ slug }) => slug),
      ["local"]
    )
  })

  it("speaks the new provider's protocol, its key shown as the file says", async () => {
    const { headers, status } = await chat("acme/claude")
    assert.deepStrictEqual([status, headers.get("x-sluice-provider")], [200, "own-claude"])
    const call = own.calls().at(-1)
    assert.deepInclude(call?.headers, { authorization: "Bearer sk-own", "anthropic-version": "2023-06-01" })
  })

  it("a route's name stands for its models, tried in order", async () => {
    assert.strictEqual((await chat("smart")).headers.get("x-sluice-model"), "acme/chat")
    own.script({ times: 10, status: 500 })
    const { body, headers, status } = await chat("Smart")
    assert.deepStrictEqual([status, headers.get("x-sluice-provider"), body.model], [200, "openai", "openai/gpt-4o"])
    assert.strictEqual(openai.calls().at(-1)?.headers["authorization"], "Bearer sk-openai")
  })

  it("the environment wins, and `sluice config` checks and shows what holds", () => {
    const env = { SLUICE_CONFIG: path, KEY_OF_OPENAI: "sk-openai", LOG_LEVEL: "error" }
    const checked = sluice(env, "config", "check", "--json")
    assert.strictEqual(checked.code, 0, checked.err)
    assert.deepInclude(JSON.parse(checked.out), {
      ok: true,
      file: path,
      mode: "embedded",
      providers: ["openai", "own-claude", "local"],
      warnings: []
    })
    const shown = sluice(env, "config", "show")
    assert.match(shown.out, /LOG_LEVEL +error +environment/)
    assert.match(shown.out, /OPENAI_API_KEY +\(set, not shown\) +.*sluice\.yaml: providers\.openai\.api_key/)
    assert.notMatch(shown.out + sluice(env, "config", "show", "--json").out, /sk-openai|sk-own/)
    const bad = sluice({ ...env, KEY_OF_OPENAI: "" }, "config", "check")
    assert.deepStrictEqual([bad.code, bad.out], [1, ""])
    assert.match(bad.err, /^sluice: .*sluice\.yaml: providers\.openai\.api_key refers to \$\{KEY_OF_OPENAI\}, which is not set/)
  })

  it("`sluice config schema` and `import` write what can be used", () => {
    const schema = JSON.parse(sluice({}, "config", "schema").out)
    assert.deepStrictEqual(schema, JSON.parse(readFileSync(join(root, "layers", "sluice.schema.json"), "utf8")))
    const from = join(directory.path, "litellm.yaml")
    writeFileSync(
      from,
      "model_list:\n  - model_name: mine\n    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, num_retries: 3}\n"
    )
    const out = join(directory.path, "imported.yaml")
    const made = sluice({}, "config", "import", from, "--out", out)
    assert.strictEqual(made.code, 0, made.err)
    assert.match(made.err, /Not taken over: model mine: num_retries/)
    assert.strictEqual(sluice({ SLUICE_CONFIG: out, OPENAI_API_KEY: "x" }, "config", "check").code, 0)
    assert.strictEqual(sluice({}, "config", "import", from, "--out", out).code, 1, "a file is never overwritten")
    assert.match(sluice({}, "config", "import", path).err, /no configuration of a LiteLLM proxy/)
  })
})
