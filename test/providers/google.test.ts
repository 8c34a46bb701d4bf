import { generateKeyPairSync } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { decodeJwt, importSPKI, jwtVerify } from "jose"
import * as GoogleTokens from "../../layers/GoogleTokens.ts"
import { ProviderAdapters } from "../../src/providers/ProviderAdapters.ts"
import { ProviderRegistry, type ProviderSettings } from "../../src/providers/ProviderRegistry.ts"
import { fromSend, Transport, type TransportRequest } from "../../src/providers/Transport.ts"
import { sourceOf } from "../support/bytes.ts"
import { callOf } from "../support/calls.ts"

const keys = generateKeyPairSync("rsa", {
  modulusLength: 2_048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" }
})
const account = JSON.stringify({
  type: "service_account",
  project_id: "my-project",
  private_key_id: "kid-1",
  private_key: keys.privateKey,
  client_email: "robot@my-project.iam.gserviceaccount.com",
  token_uri: "https://token.test/exchange"
})

const answer = { candidates: [{ content: { parts: [{ text: "hi" }] }, finishReason: "STOP" }] }

/** Google at the other end of the transport, and what it was sent. */
const google = (settings: ProviderSettings, tokenStatus: object = { access_token: "ya29.token", expires_in: 3_600 }) => {
  const sent: Array<TransportRequest> = []
  const transport = Layer.succeed(
    Transport,
    fromSend((request) =>
      Effect.sync(() => {
        sent.push(request)
        const body = request.url.startsWith("https://token.test") ? tokenStatus : answer
        return { status: 200, headers: {}, body: sourceOf([new TextEncoder().encode(JSON.stringify(body))]) }
      })
    )
  )
  const adapters = ProviderAdapters.layer.pipe(Layer.provide(GoogleTokens.layer), Layer.provide(transport))
  const layer = Layer.merge(adapters, ProviderRegistry.layer(new Map([["google-vertex", settings]])))
  const ask = (nativeId = "gemini-2.5-flash") =>
    Effect.gen(function* () {
      const provider = (yield* ProviderRegistry).get("google-vertex")
      if (provider === undefined) return yield* Effect.die("no provider")
      const call = { ...callOf("google-vertex", { messages: [{ role: "user", content: "hi" }] }, { nativeId }), provider }
      return yield* (yield* ProviderAdapters).for(provider).send(call)
    })
  return { sent, layer, ask }
}

describe("Vertex AI", () => {
  it.effect("takes a service account: a signed assertion for a token, kept while it is good, the key never sent", () => {
    const { ask, layer, sent } = google({ apiKey: Redacted.make(account) })
    return Effect.gen(function* () {
      yield* Effect.all([ask(), ask()], { concurrency: 2 })
      const exchanges = () => sent.filter((request) => request.url === "https://token.test/exchange")
      assert.strictEqual(exchanges().length, 1)
      const assertion = new URLSearchParams(String(exchanges()[0]?.body)).get("assertion") ?? ""
      const verify = async () => jwtVerify(assertion, await importSPKI(keys.publicKey, "RS256"), { currentDate: new Date(0) })
      assert.deepInclude((yield* Effect.promise(verify)).payload, {
        iss: "robot@my-project.iam.gserviceaccount.com",
        aud: "https://token.test/exchange",
        scope: "https://www.googleapis.com/auth/cloud-platform"
      })
      assert.isString(decodeJwt(assertion).iss)
      const calls = sent.filter((request) => request.url.includes("generateContent"))
      assert.deepStrictEqual(
        calls.map((request) => request.headers["authorization"]),
        ["Bearer ya29.token", "Bearer ya29.token"]
      )
      assert.strictEqual(
        calls[0]?.url,
        "https://us-central1-aiplatform.googleapis.com/v1/projects/my-project/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent"
      )
      assert.notInclude(JSON.stringify(sent), "PRIVATE KEY")
      yield* TestClock.adjust(3_600_000)
      yield* ask()
      assert.strictEqual(exchanges().length, 2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("counts a refused service account as the gateway's trouble", () => {
    const { ask, layer } = google({ apiKey: Redacted.make(account) }, { error: "invalid_grant" })
    return Effect.gen(function* () {
      assert.deepInclude((yield* Effect.flip(ask())).reason, { _tag: "ProviderStatus", status: 401 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("takes a token or an API key as they are, and serves previews globally", () => {
    const { ask, layer, sent } = google({ apiKey: Redacted.make("ya29.own"), variables: { project: "p", location: "europe-west4" } })
    const keyed = google({ apiKey: Redacted.make("AIzaSyKey"), variables: { project: "p" } })
    return Effect.gen(function* () {
      yield* Effect.provide(ask("gemini-3-pro-preview"), layer)
      assert.strictEqual(sent[0]?.headers["authorization"], "Bearer ya29.own")
      assert.strictEqual(
        sent[0]?.url,
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/gemini-3-pro-preview:generateContent"
      )
      yield* Effect.provide(keyed.ask(), keyed.layer)
      assert.deepInclude(keyed.sent[0]?.headers, { "x-goog-api-key": "AIzaSyKey" })
      assert.isUndefined(keyed.sent[0]?.headers["authorization"])
    })
  })
})
