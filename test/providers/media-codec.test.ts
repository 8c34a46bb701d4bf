import { assert, describe, it } from "@effect/vitest"
import { mediaAnswer } from "../../bench/mock/Media.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { ProviderCall } from "../../src/providers/ProviderAdapter.ts"
import { decodeAnswer, encodeRequest, unsupported } from "../../src/providers/protocols/GeminiMediaCodec.ts"
import * as OpenAiMediaCodec from "../../src/providers/protocols/OpenAiMediaCodec.ts"
import { definitions } from "../../src/providers/RegistryData.ts"
import { forOperation, operationOf } from "../../src/routing/Operations.ts"
import { candidate, model, request } from "../support/scripted.ts"

const call = (slug: string, nativeId: string, more: Partial<InferenceRequest>): ProviderCall => {
  const definition = definitions.find((row) => row.slug === slug)
  if (definition === undefined) throw new Error(`no provider ${slug}`)
  const provider = { definition, active: true, baseUrl: "https://a.example", apiKey: null, variables: {}, headers: {} }
  return { provider, nativeId, model: model(nativeId, [slug]), request: request(more), maxTokens: null }
}
const embed = (slug: string, body: InferenceRequest["body"]) =>
  call(slug, "gemini-embedding-001", { protocol: "openai-embeddings", operation: "embeddings", body })
const draw = (slug: string, body: InferenceRequest["body"], choices = 1) =>
  call(slug, "imagen-4.0-generate-001", {
    protocol: "openai-images",
    operation: "images",
    body,
    choices,
    image: { sizeFactor: 1.5, maxTokens: 0 }
  })

/** What the mock answers to what was encoded. */
const exchange = (asked: ProviderCall) => {
  const encoded = encodeRequest(asked)
  const body: Record<string, unknown> = JSON.parse(String(encoded?.body))
  return { path: encoded?.path, body, decoded: decodeAnswer(asked, JSON.stringify(mediaAnswer(encoded?.path ?? "", {}, body))) }
}

describe("Google's codec of embeddings and images", () => {
  it("asks the Gemini API for a batch and gives vectors in OpenAI's shape", () => {
    const { body, decoded, path } = exchange(embed("google-ai-studio", { input: ["one", "two"], dimensions: 2 }))
    assert.match(path ?? "", /:batchEmbedContents$/)
    const asked = (text: string) => ({ model: "models/gemini-embedding-001", content: { parts: [{ text }] }, outputDimensionality: 2 })
    assert.deepStrictEqual(body, { requests: [asked("one"), asked("two")] })
    assert.isNull(decoded.fault)
    assert.deepStrictEqual(decoded.events, [
      {
        _tag: "Data",
        value: {
          object: "list",
          data: [
            { object: "embedding", index: 0, embedding: [0, 0.25] },
            { object: "embedding", index: 1, embedding: [1, 1.25] }
          ]
        }
      }
    ])
  })

  it("asks Vertex by prediction, which counts the tokens", () => {
    const { body, decoded } = exchange(embed("google-vertex", { input: "one" }))
    assert.deepStrictEqual(body, { instances: [{ content: "one" }], parameters: {} })
    const usage = decoded.events.find((event) => event._tag === "Usage")
    assert.deepInclude(usage?._tag === "Usage" ? usage.usage : {}, { input: 5, output: 0, source: "provider" })
  })

  it("says that it takes no tokens, and Vertex one text at a time", () => {
    assert.isNull(unsupported(embed("google-ai-studio", { input: ["one", "two"] })))
    assert.strictEqual(unsupported(embed("google-ai-studio", { input: [1, 2] })), "input")
    assert.isNull(unsupported(embed("google-vertex", { input: "one" })))
    assert.strictEqual(unsupported(embed("google-vertex", { input: ["one", "two"] })), "input")
  })

  it("asks Imagen for the ratio nearest to the size, and gives the images as they were asked for", () => {
    const { body, decoded } = exchange(draw("google-ai-studio", { prompt: "a house", size: "1024x1792" }, 2))
    assert.deepStrictEqual(body, { instances: [{ prompt: "a house" }], parameters: { sampleCount: 2, aspectRatio: "9:16" } })
    assert.deepStrictEqual(decoded.events[0], { _tag: "Data", value: { data: [{ b64_json: "aW1hZ2U=" }, { b64_json: "aW1hZ2U=" }] } })
    const usage = decoded.events[1]
    assert.deepInclude(usage?._tag === "Usage" ? usage.usage : {}, { images: 3 })
    const url = exchange(draw("google-ai-studio", { prompt: "a house", response_format: "url" })).decoded.events[0]
    assert.deepStrictEqual(url, { _tag: "Data", value: { data: [{ url: "data:image/png;base64,aW1hZ2U=" }] } })
  })

  it("says how an answer is not one", () => {
    const asked = embed("google-ai-studio", { input: ["one", "two"] })
    assert.strictEqual(decodeAnswer(asked, "{").fault?.fault, "malformed")
    assert.strictEqual(decodeAnswer(asked, "{}").fault?.fault, "empty")
    assert.strictEqual(decodeAnswer(asked, '{"embeddings":[{"values":[1]}]}').fault?.fault, "cut")
    assert.strictEqual(decodeAnswer(draw("google-vertex", {}), '{"predictions":[{"raiFilteredReason":"x"}]}').fault?.fault, "empty")
  })
})

describe("OpenAI's codec of embeddings, images and transcriptions", () => {
  it("a form cannot be broken by names and values of its fields", async () => {
    const asked = call("groq", "whisper-large-v3", {
      operation: "transcription",
      audio: {
        file: new TextEncoder().encode('--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ndearer\r\n'),
        fileName: 'a"\r\nx: y.mp3',
        contentType: "audio/mpeg\r\nx: y",
        fields: [['odd"\r\nname', "value"]],
        format: "srt",
        seconds: 6,
        boundary: "sluice-1"
      }
    })
    const encoded = OpenAiMediaCodec.encodeRequest(asked)
    if (encoded === null || typeof encoded.body === "string") throw new Error("no form")
    const form = await new Response(new Uint8Array(encoded.body), { headers: { "content-type": encoded.contentType } }).formData()
    assert.deepStrictEqual(form.getAll("model"), ["whisper-large-v3"])
    assert.deepStrictEqual([...form.keys()].sort(), ["file", "model", 'odd"\r\nname', "response_format"])
    assert.strictEqual(form.get("response_format"), "verbose_json")
  })

  it("a prompt that guardrails rewrote goes on as they left it", async () => {
    const asked = call("openai", "whisper-1", {
      operation: "transcription",
      body: { prompt: "write to [REDACTED]" },
      audio: {
        file: new Uint8Array(3),
        fileName: "a.mp3",
        contentType: "audio/mpeg",
        fields: [["prompt", "write to Ann"]],
        format: "json",
        seconds: 6,
        boundary: "sluice-1"
      }
    })
    const encoded = OpenAiMediaCodec.encodeRequest(asked)
    if (encoded === null || typeof encoded.body === "string") throw new Error("no form")
    const form = await new Response(new Uint8Array(encoded.body), { headers: { "content-type": encoded.contentType } }).formData()
    assert.strictEqual(form.get("prompt"), "write to [REDACTED]")
  })

  it("tells of no figures that cannot be; images that are there are counted all the same", () => {
    const usageOf = (more: Partial<InferenceRequest>, answer: object) => {
      const found = OpenAiMediaCodec.decodeAnswer(call("openai", "m", more), JSON.stringify(answer)).events.find(
        (event) => event._tag === "Usage"
      )
      return found?._tag === "Usage" ? found.usage : null
    }
    for (const figure of [1e300, -1, "9"]) {
      const vectors = { data: [{ embedding: [1] }], usage: { prompt_tokens: figure } }
      assert.isNull(usageOf({ operation: "embeddings", body: { input: "a" } }, vectors))
      const images = { data: [{ url: "https://a.example" }], usage: { output_tokens: figure } }
      assert.deepInclude(usageOf({ operation: "images" }, images), { images: 1, output: 0, source: "estimated" })
    }
    assert.isNull(usageOf({ operation: "transcription" }, { text: "x", duration: 1e300 }))
    assert.deepInclude(usageOf({ operation: "transcription" }, { text: "x", duration: 2.5 }), { audioSeconds: 2.5, source: "provider" })
  })

  it("says how an answer is not one", () => {
    const asked = call("openai", "m", { operation: "embeddings", body: { input: ["a", "b"] } })
    const fault = (text: string) => OpenAiMediaCodec.decodeAnswer(asked, text).fault?.fault
    assert.strictEqual(fault("<html>"), "malformed")
    assert.strictEqual(fault('{"error":{"message":"busy"}}'), "reported")
    assert.strictEqual(fault('{"data":[]}'), "empty")
    assert.strictEqual(fault('{"data":[{"embedding":[]},{"embedding":[1]}]}'), "malformed")
    assert.strictEqual(fault('{"data":[{"embedding":[1]}]}'), "cut")
    assert.isUndefined(fault('{"data":[{"embedding":[1]},{"embedding":"AACAPw=="}]}'))
  })
})

describe("operations", () => {
  it("are told by what goes into a model and what comes out", () => {
    const of = (modality: string) => operationOf({ modality })
    for (const modality of [
      "text->text",
      "text+image->text",
      "text+image+audio+video->text",
      "text+image->text+image",
      "text->text+audio"
    ]) {
      assert.strictEqual(of(modality), "chat", modality)
    }
    assert.strictEqual(of("text+image->embedding"), "embeddings")
    assert.strictEqual(of("text->image"), "images")
    assert.strictEqual(of("audio->text"), "transcription")
    assert.isNull(of("text->audio"))
    assert.isNull(of("text->video"))
  })

  it("leave out providers that have no way in, and say so when none is left", () => {
    const definitionOf = (slug: string) => definitions.find((row) => row.slug === slug)
    const drawn = model("org/drawn", ["anthropic", "together"], { modality: "text->image" })
    const [anthropic, together] = [candidate("anthropic", drawn), candidate("together", drawn)]
    assert.deepStrictEqual(forOperation([anthropic, together], "images", definitionOf), [together])
    assert.strictEqual(forOperation([anthropic], "images", definitionOf), "No active provider of `org/drawn` can do images.")
    assert.strictEqual(
      forOperation([together], "chat", definitionOf),
      "`org/drawn` cannot do chat. It is a model for images: POST /v1/images/generations."
    )
  })
})
