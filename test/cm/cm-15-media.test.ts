import { createOpenAI } from "@ai-sdk/openai"
import { assert, describe, it } from "@effect/vitest"
import { embedMany, generateImage, transcribe } from "ai"
import type { Script } from "../../bench/mock/Script.ts"
import { house } from "../support/house.ts"
import { assertCharged, assertUncharged, lastRequest, type Refusal, recording, sendForm } from "../support/media.ts"
import { type Customer, eventually, jsonCall, newCustomer, openAi } from "../support/server.ts"

const our = house((url) => ({
  BREAKER_FAILURES: "1000",
  PROVIDER_FIRST_BYTE_TIMEOUT_MS: "400",
  TOGETHER_API_KEY: "tg-together",
  TOGETHER_BASE_URL: url,
  DEEPINFRA_API_KEY: "di-deepinfra",
  DEEPINFRA_BASE_URL: url,
  GROQ_API_KEY: "gq-groq",
  GROQ_BASE_URL: url
}))
const rich = () => newCustomer(our.server, { balanceUsd: "1" })

describe("images", () => {
  const draw = async (customer: Customer, more: object = {}, headers: Record<string, string> = {}) => {
    const response = await fetch(`${our.server.url}/v1/images/generations`, {
      method: "POST",
      headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json", ...headers },
      body: JSON.stringify({ model: "dall-e-3", prompt: "a house on a hill", ...more })
    })
    const body: Refusal & { readonly data: ReadonlyArray<object>; readonly usage?: object } = JSON.parse(await response.text())
    return { status: response.status, headers: response.headers, body }
  }

  const sizes: ReadonlyArray<readonly [size: string | undefined, n: number, usd: string]> = [
    [undefined, 1, "0.04"],
    ["256x256", 3, "0.06"],
    ["512x512", 1, "0.03"],
    ["1024x1024", 2, "0.08"],
    ["1024x1792", 2, "0.12"],
    ["1792x1024", 1, "0.06"],
    ["2048x2048", 10, "0.8"],
    ["640x480", 1, "0.04"]
  ]
  for (const [size, n, usd] of sizes) {
    it(`CM-15.1 ${n} of ${size ?? "no size"} at 0.04 cost ${usd}, to the picodollar`, async () => {
      const customer = await rich()
      const { body, headers, status } = await draw(customer, { n, ...(size === undefined ? {} : { size }) })
      assert.strictEqual(status, 200)
      assert.strictEqual(body.data.length, n)
      await assertCharged(our.server, customer, headers, usd, "1")
    })
  }

  it("CM-15.1 through the official client, with its headers and its row", async () => {
    const customer = await rich()
    const { data, response } = await openAi(our.server, customer.key)
      .images.generate({ model: "dall-e-3", prompt: "a house", size: "1792x1024", response_format: "b64_json" })
      .withResponse()
    assert.strictEqual(data.data?.[0]?.b64_json, "aW1hZ2U=")
    assert.isAbove(data.created, 0)
    assert.strictEqual(response.headers.get("x-sluice-provider"), "openai")
    assert.strictEqual(response.headers.get("x-sluice-model"), "openai/dall-e-3")
    await assertCharged(our.server, customer, response.headers, "0.06", "1")
    assert.deepInclude(await lastRequest(our.server, customer), {
      outcome: "ok",
      model: "openai/dall-e-3",
      provider: "openai",
      cost_usd: "0.06"
    })
    assert.deepInclude(our.mock.calls()[0]?.body, { model: "dall-e-3", prompt: "a house", size: "1792x1024", response_format: "b64_json" })
  })

  it("CM-15.1 images that a provider did not make are not charged, and none beyond those asked for", async () => {
    const customer = await rich()
    our.mock.script({ images: 1 }, { images: 5 })
    assert.strictEqual((await draw(customer, { n: 3 })).headers.get("x-sluice-cost-usd"), "0.04")
    assert.strictEqual((await draw(customer, { n: 2 })).headers.get("x-sluice-cost-usd"), "0.08")
  })

  it("CM-15.2 without the money for the most it can cost: 402, and no provider hears of it", async () => {
    const poor = await newCustomer(our.server, { balanceUsd: "0" })
    const refused = await draw(poor)
    assert.strictEqual(refused.status, 402)
    assert.strictEqual(refused.body.error.code, "INSUFFICIENT_CREDITS")
    const short = await newCustomer(our.server, { balanceUsd: "0.119999999999" })
    assert.strictEqual((await draw(short, { n: 2, size: "1024x1792" })).status, 402)
    assert.strictEqual(
      (
        await sendForm(our.server, poor.key, [
          ["file", recording(1_000)],
          ["model", "whisper-1"]
        ])
      ).status,
      402
    )
    assert.strictEqual(our.mock.calls().length, 0)
    await assertUncharged(our.server, short, "0.119999999999", null)
    const exact = await newCustomer(our.server, { balanceUsd: "0.12" })
    assert.strictEqual((await draw(exact, { n: 2, size: "1024x1792" })).status, 200)
  })

  it("a model priced by tokens is charged by what the provider counted, by the image where it counted nothing", async () => {
    const customer = await rich()
    our.mock.script({ usage: { input_tokens: 13, output_tokens: 1_056, total_tokens: 1_069 } })
    const { body, headers } = await draw(customer, { model: "gpt-image-1", quality: "medium", size: "1024x1024" })
    await assertCharged(our.server, customer, headers, "0.042305", "1")
    assert.deepInclude(body, {
      usage: { input_tokens: 13, output_tokens: 1_056, total_tokens: 1_069, input_tokens_details: { text_tokens: 13, image_tokens: 0 } }
    })
    assert.strictEqual((await draw(customer, { model: "gpt-image-1" })).headers.get("x-sluice-cost-usd"), "0.042")
    // The hold is for the dearest quality where none is named: 6,240 tokens.
    const short = await newCustomer(our.server, { balanceUsd: "0.2495" })
    assert.strictEqual((await draw(short, { model: "gpt-image-1" })).status, 402)
    assert.strictEqual((await draw(short, { model: "gpt-image-1", quality: "low" })).status, 200)
  })

  it("the next provider draws when the first fails, at its own words for it, and only the answer is charged", async () => {
    const customer = await rich()
    our.mock.script({ status: 503, apiKey: "tg-together", times: 9 })
    const asked = { model: "flux-schnell", n: 2, size: "512x512", response_format: "b64_json" }
    const { headers, status } = await draw(customer, asked)
    assert.strictEqual(status, 200)
    assert.strictEqual(headers.get("x-sluice-provider"), "deepinfra")
    await assertCharged(our.server, customer, headers, "0.0045", "1")
    assert.deepInclude(our.mock.calls()[0]?.body, { width: 512, height: 512, response_format: "base64" })
    assert.deepInclude(our.mock.calls()[1]?.body, { model: "black-forest-labs/FLUX-1-schnell", size: "512x512" })
    const { attempts } = await lastRequest(our.server, customer)
    assert.deepStrictEqual(
      attempts.map(({ provider, status }) => [provider, status]),
      [
        ["together", 503],
        ["deepinfra", 200]
      ]
    )
  })

  const faults: ReadonlyArray<readonly [string, Script, number]> = [
    ["a 5xx", { status: 500, times: 2 }, 502],
    ["silence", { hang: "head" }, 504],
    ["no images", { empty: true }, 502],
    ["an answer that breaks off", { reset: "mid" }, 503],
    ["an answer that is no JSON", { malformed: true }, 502]
  ]
  for (const [title, script, expected] of faults) {
    it(`${title} of the provider is refunded and answered ${expected}`, async () => {
      const customer = await rich()
      our.mock.script(script)
      const { status } = await draw(customer)
      assert.strictEqual(status, expected)
      await assertUncharged(our.server, customer, "1", "refund")
      assert.strictEqual((await lastRequest(our.server, customer)).outcome, "refunded")
    })
  }

  it("the provider's 4xx for the caller's mistake keeps its words and costs nothing", async () => {
    const customer = await rich()
    our.mock.script({
      status: 400,
      body: { error: { message: "Your prompt was rejected.", code: "content_policy_violation", param: null } }
    })
    const { body, status } = await draw(customer)
    assert.strictEqual(status, 400)
    assert.deepInclude(body.error, { message: "Your prompt was rejected.", code: "content_policy_violation" })
    await assertUncharged(our.server, customer, "1", null)
  })

  it("one Idempotency-Key is one charge", async () => {
    const customer = await rich()
    const key = { "idempotency-key": "once" }
    const first = await draw(customer, {}, key)
    const again = await draw(customer, {}, key)
    assert.deepStrictEqual(again.body, first.body)
    assert.strictEqual(again.headers.get("idempotent-replayed"), "true")
    assert.strictEqual((await draw(customer, { n: 2 }, key)).status, 422)
    assert.strictEqual(our.mock.calls().length, 1)
    await assertCharged(our.server, customer, first.headers, "0.04", "1")
  })

  it("a caller who leaves while nothing is drawn pays nothing, and the provider is let go", async () => {
    const customer = await rich()
    our.mock.script({ hang: "head" })
    const leave = new AbortController()
    const gone = fetch(`${our.server.url}/v1/images/generations`, {
      method: "POST",
      signal: leave.signal,
      headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "dall-e-3", prompt: "a house" })
    }).catch(() => null)
    await eventually(() => assert.strictEqual(our.mock.calls().length, 1))
    leave.abort()
    await gone
    await eventually(() => assert.isNotNull(our.mock.calls()[0]?.abortedAt ?? null))
    await eventually(async () => assert.strictEqual((await lastRequest(our.server, customer)).outcome, "cancelled"))
    const credits = await jsonCall(our.server.url, customer.key, "GET", "/v1/credits")
    assert.deepInclude(credits.body, { available_usd: "1.00", held_usd: "0.00" })
  })

  const mistakes: ReadonlyArray<readonly [string, object, RegExp, string]> = [
    ["a chat model", { model: "gpt-4o" }, /`openai\/gpt-4o` cannot do images.*chat\/completions/, "model"],
    ["an embedding model", { model: "text-embedding-3-small" }, /cannot do images.*\/v1\/embeddings/, "model"],
    ["no prompt", { prompt: undefined }, /`prompt` is missing/, "prompt"],
    ["n of 0", { n: 0 }, /`n` must be a whole number from 1 to 10/, "n"],
    ["n of 11", { n: 11 }, /`n` must be a whole number from 1 to 10/, "n"],
    ["a size in words", { size: "large" }, /`size` must be/, "size"],
    ["another response_format", { response_format: "png" }, /`response_format` must be one of url, b64_json/, "response_format"],
    ["a stream", { stream: true }, /not streamed/, "stream"]
  ]
  for (const [title, more, message, param] of mistakes) {
    it(`refuses ${title} with 400 and says why`, async () => {
      const customer = await rich()
      const { body, status } = await draw(customer, more)
      assert.strictEqual(status, 400)
      assert.match(body.error.message, message)
      assert.strictEqual(body.error.param, param)
      assert.strictEqual(our.mock.calls().length, 0)
    })
  }
})

describe("transcriptions", () => {
  const file = recording(1_000)

  it("CM-15.3 the official client gets a text, charged by the second the provider heard", async () => {
    const customer = await rich()
    const { data, response } = await openAi(our.server, customer.key)
      .audio.transcriptions.create({ file: recording(5_000, "speech.wav", "audio/wav"), model: "whisper-1", language: "en" })
      .withResponse()
    assert.strictEqual(data.text, "Hello world. How are you?")
    assert.deepInclude(data, { usage: { type: "duration", seconds: 13 } })
    await assertCharged(our.server, customer, response.headers, "0.0013", "1")
    const [call] = our.mock.calls()
    assert.strictEqual(call?.path, "/v1/audio/transcriptions")
    assert.deepInclude(call?.body, { model: "whisper-1", language: "en", response_format: "verbose_json" })
    assert.deepInclude(call?.body["file"], { name: "speech.wav", type: "audio/wav" })
    assert.deepInclude(await lastRequest(our.server, customer), { outcome: "ok", model: "openai/whisper-1", usage_source: "provider" })
  })

  const formats: ReadonlyArray<readonly [string, RegExp, string]> = [
    ["json", /^\{"text":"Hello world\. How are you\?","usage":\{"type":"duration","seconds":13\}\}$/, "application/json"],
    ["verbose_json", /"segments":\[/, "application/json"],
    ["text", /^Hello world\. How are you\?\n$/, "text/plain"],
    [
      "srt",
      /^1\n00:00:00,000 --> 00:00:01,500\nHello world\.\n\n2\n00:00:01,500 --> 01:02:03,004\nHow are you\?\n\n$/,
      "application/x-subrip"
    ],
    ["vtt", /^WEBVTT\n\n00:00:00\.000 --> 00:00:01\.500\nHello world\.\n\n00:00:01\.500 --> 01:02:03\.004\nHow are you\?\n\n$/, "text/vtt"]
  ]
  for (const [format, expected, type] of formats) {
    it(`CM-15.3 ${format} has its form and its content type, at the same price`, async () => {
      const customer = await rich()
      const { headers, status, text } = await sendForm(our.server, customer.key, [
        ["model", "whisper-1"],
        ["response_format", format],
        ["file", file]
      ])
      assert.strictEqual(status, 200)
      assert.match(text, expected)
      assert.include(headers.get("content-type"), type)
      await assertCharged(our.server, customer, headers, "0.0013", "1")
    })
  }

  it("a model without a verbose form is asked for what it has", async () => {
    const customer = await rich()
    our.mock.script({
      usage: { type: "tokens", input_tokens: 25, input_token_details: { audio_tokens: 251, text_tokens: 0 }, output_tokens: 9 }
    })
    const { headers, text } = await sendForm(our.server, customer.key, [
      ["file", file],
      ["model", "gpt-4o-transcribe"],
      ["response_format", "text"]
    ])
    assert.strictEqual(text, "Hello world. How are you?\n")
    assert.strictEqual(our.mock.calls()[0]?.body["response_format"], "json")
    await assertCharged(our.server, customer, headers, "0.0026", "1")
  })

  it("without a duration of the provider the size of the file is charged, a tenth of a minute at least", async () => {
    const megabyte = 1_024 * 1_024
    const cases: ReadonlyArray<readonly [File, string]> = [
      [recording(1_000), "0.0006"],
      [recording(2 * megabyte), "0.012"],
      [recording(5 * megabyte, "speech.wav", "audio/wav"), "0.003"],
      [recording(5 * megabyte, "speech.flac", "audio/flac"), "0.006"]
    ]
    for (const [given, usd] of cases) {
      const customer = await rich()
      our.mock.script({ noUsage: true })
      const { headers } = await sendForm(our.server, customer.key, [
        ["file", given],
        ["model", "whisper-1"]
      ])
      await assertCharged(our.server, customer, headers, usd, "1")
      assert.strictEqual((await lastRequest(our.server, customer)).usage_source, "estimated")
    }
  })

  it("the model may come before or after the file, other fields pass through, and the bytes arrive as they were", async () => {
    const customer = await rich()
    const bytes = Uint8Array.from({ length: 70_000 }, (_, at) => (at * 31) % 256)
    const odd = new File([bytes], 'a "b".mp3', { type: "audio/mpeg" })
    const { status } = await sendForm(our.server, customer.key, [
      ["timestamp_granularities[]", "segment"],
      ["file", odd],
      ["x_unknown", "ü\r\nz"],
      ["model", "whisper-1"],
      ["temperature", "0.2"]
    ])
    assert.strictEqual(status, 200)
    const body = our.mock.calls()[0]?.body
    assert.deepInclude(body, { "timestamp_granularities[]": "segment", x_unknown: "ü\r\nz", temperature: "0.2", model: "whisper-1" })
    assert.deepStrictEqual(body?.["file"], { name: 'a "b".mp3', type: "audio/mpeg", bytes: Buffer.from(bytes).toString("latin1") })
  })

  it("a recording without an ending is known by its type and gets one", async () => {
    const customer = await rich()
    const blob = recording(100, "blob", "audio/webm;codecs=opus")
    assert.strictEqual(
      (
        await sendForm(our.server, customer.key, [
          ["file", blob],
          ["model", "whisper-1"]
        ])
      ).status,
      200
    )
    assert.deepInclude(our.mock.calls()[0]?.body["file"], { name: "blob.webm" })
  })

  it("the next provider hears it when the first fails; a provider of its own is asked by the field provider", async () => {
    const customer = await rich()
    our.mock.script({ status: 500, apiKey: "tg-together" })
    const { headers } = await sendForm(our.server, customer.key, [
      ["file", file],
      ["model", "whisper-large-v3"]
    ])
    assert.strictEqual(headers.get("x-sluice-provider"), "groq")
    // 13 seconds at 0.000030833334.
    await assertCharged(our.server, customer, headers, "0.000400833342", "1")
    const only = JSON.stringify({ only: ["groq"] })
    const chosen = await sendForm(our.server, customer.key, [
      ["file", file],
      ["model", "whisper-large-v3"],
      ["provider", only]
    ])
    assert.strictEqual(chosen.headers.get("x-sluice-provider"), "groq")
    assert.notProperty(our.mock.calls().at(-1)?.body, "provider")
  })

  it("a stream is answered as events that the official client reads", async () => {
    const customer = await rich()
    const stream = await openAi(our.server, customer.key).audio.transcriptions.create({ file, model: "gpt-4o-transcribe", stream: true })
    const events: Array<string> = []
    for await (const event of stream) events.push(event.type === "transcript.text.done" ? event.text : event.type)
    assert.deepStrictEqual(events, ["transcript.text.delta", "Hello world. How are you?"])
  })

  it("one Idempotency-Key is one charge, and another recording under it is told apart", async () => {
    const customer = await rich()
    const send = (given: File) =>
      sendForm(
        our.server,
        customer.key,
        [
          ["file", given],
          ["model", "whisper-1"]
        ],
        { "idempotency-key": "once" }
      )
    const first = await send(file)
    const again = await send(file)
    assert.strictEqual(again.text, first.text)
    assert.strictEqual(again.headers.get("idempotent-replayed"), "true")
    assert.strictEqual((await send(new File([new Uint8Array(1_000).fill(1)], "speech.mp3", { type: "audio/mpeg" }))).status, 422)
    await assertCharged(our.server, customer, first.headers, "0.0013", "1")
  })

  const faults: ReadonlyArray<readonly [string, Script, number]> = [
    ["a 5xx", { status: 502, times: 2 }, 502],
    ["silence", { hang: "head" }, 504],
    ["an answer without text", { malformed: true }, 502]
  ]
  for (const [title, script, expected] of faults) {
    it(`${title} of the provider is refunded and answered ${expected}`, async () => {
      const customer = await rich()
      our.mock.script(script)
      assert.strictEqual(
        (
          await sendForm(our.server, customer.key, [
            ["file", file],
            ["model", "whisper-1"]
          ])
        ).status,
        expected
      )
      await assertUncharged(our.server, customer, "1", "refund")
    })
  }

  it("a caller who leaves while it is heard pays for what was sent", async () => {
    const customer = await rich()
    our.mock.script({ hang: "head" })
    const leave = new AbortController()
    const form = new FormData()
    form.append("model", "whisper-1")
    form.append("file", file)
    const headers = { authorization: `Bearer ${customer.key}` }
    const url = `${our.server.url}/v1/audio/transcriptions`
    const gone = fetch(url, { method: "POST", signal: leave.signal, headers, body: form }).catch(() => null)
    await eventually(() => assert.strictEqual(our.mock.calls().length, 1))
    leave.abort()
    await gone
    await eventually(async () =>
      assert.deepInclude(await lastRequest(our.server, customer), { outcome: "cancelled", cost_usd: "0.0006", usage_source: "estimated" })
    )
  })

  it("the AI SDK embeds, draws and transcribes", async () => {
    const customer = await rich()
    const provider = createOpenAI({ baseURL: `${our.server.url}/v1`, apiKey: customer.key })
    const { embeddings } = await embedMany({ model: provider.embedding("text-embedding-3-small"), values: ["one", "two"] })
    assert.deepStrictEqual(embeddings[1]?.slice(0, 2), [1, 1.25])
    const { images } = await generateImage({ model: provider.image("dall-e-3"), prompt: "a house", n: 2, size: "1024x1024" })
    assert.strictEqual(images[1]?.base64, "aW1hZ2U=")
    const { durationInSeconds, segments, text } = await transcribe({
      model: provider.transcription("whisper-1"),
      audio: new Uint8Array(900)
    })
    assert.strictEqual(text, "Hello world. How are you?")
    assert.strictEqual(durationInSeconds, 12.34)
    assert.strictEqual(segments[0]?.text.trim(), "Hello world.")
  })

  const big = 25 * 1_024 * 1_024
  const mistakes: ReadonlyArray<readonly [string, ReadonlyArray<readonly [string, string | File]>, number, RegExp, string | null]> = [
    ["no file", [["model", "whisper-1"]], 400, /`file` is missing/, "file"],
    [
      "a file that is a text",
      [
        ["model", "whisper-1"],
        ["file", "hello"]
      ],
      400,
      /`file` must be a file/,
      "file"
    ],
    [
      "an empty file",
      [
        ["model", "whisper-1"],
        ["file", recording(0)]
      ],
      400,
      /`file` is empty/,
      "file"
    ],
    [
      "two files",
      [
        ["model", "whisper-1"],
        ["file", file],
        ["file", file]
      ],
      400,
      /more than one/,
      "file"
    ],
    ["no model", [["file", file]], 400, /`model` is missing/, "model"],
    [
      "a file of another type",
      [
        ["file", recording(9, "notes.txt", "text/plain")],
        ["model", "whisper-1"]
      ],
      400,
      /must be one of flac, m4a/,
      "file"
    ],
    [
      "another response_format",
      [
        ["file", file],
        ["model", "whisper-1"],
        ["response_format", "xml"]
      ],
      400,
      /json, text, srt/,
      "response_format"
    ],
    [
      "a chat model",
      [
        ["file", file],
        ["model", "gpt-4o"]
      ],
      400,
      /`openai\/gpt-4o` cannot do transcriptions/,
      "model"
    ],
    [
      "an unknown model",
      [
        ["file", file],
        ["model", "nobody/nothing"]
      ],
      404,
      /does not exist/,
      "model"
    ],
    [
      "a file one byte too large",
      [
        ["file", recording(big + 1)],
        ["model", "whisper-1"]
      ],
      413,
      /larger than 26214400 bytes/,
      "file"
    ]
  ]
  for (const [title, fields, expected, message, param] of mistakes) {
    it(`refuses ${title} with ${expected} and says why`, async () => {
      const customer = await rich()
      const refused = await sendForm(our.server, customer.key, fields)
      assert.strictEqual(refused.status, expected)
      assert.match(refused.json().error.message, message)
      assert.strictEqual(refused.json().error.param, param)
      assert.strictEqual(our.mock.calls().length, 0)
      await assertUncharged(our.server, customer, "1", null)
    })
  }

  it("takes a file of exactly 25 MB", async () => {
    const customer = await rich()
    assert.strictEqual(
      (
        await sendForm(our.server, customer.key, [
          ["file", recording(big)],
          ["model", "whisper-1"]
        ])
      ).status,
      200
    )
  })

  const bodies: ReadonlyArray<readonly [string, string, string, number]> = [
    ["JSON", "application/json", "{}", 415],
    ["a form without a boundary", "multipart/form-data", "--x--", 400],
    [
      "a form that breaks off",
      "multipart/form-data; boundary=x",
      '--x\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nabc',
      400
    ],
    ["no form at all", "multipart/form-data; boundary=x", "hello", 400]
  ]
  for (const [title, type, body, expected] of bodies) {
    it(`refuses ${title} with ${expected}`, async () => {
      const customer = await rich()
      const response = await fetch(`${our.server.url}/v1/audio/transcriptions`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": type },
        body
      })
      assert.strictEqual(response.status, expected)
      const refused: Refusal = JSON.parse(await response.text())
      assert.isNotEmpty(refused.error.message)
      assert.strictEqual(our.mock.calls().length, 0)
    })
  }
})
