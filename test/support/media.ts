/**
 * What the tests of embeddings, images and transcriptions share.
 */
import { assert } from "@effect/vitest"
import { pico } from "./house.ts"
import { type Customer, creditsOf, entriesOf, jsonCall, type RunningServer } from "./server.ts"

/** Recordings that nobody hears: only their size and name matter. */
export const recording = (bytes: number, name = "speech.mp3", type = "audio/mpeg"): File =>
  new File([new Uint8Array(bytes)], name, { type })

export interface Refusal {
  readonly error: { readonly message: string; readonly type: string; readonly code: string; readonly param: string | null }
}

/** A form as a browser or curl sends it, its fields in this order. */
export const sendForm = async (
  server: RunningServer,
  key: string,
  fields: ReadonlyArray<readonly [string, string | File]>,
  headers: Readonly<Record<string, string>> = {}
): Promise<{ readonly status: number; readonly headers: Headers; readonly text: string; readonly json: () => Refusal }> => {
  const form = new FormData()
  for (const [name, value] of fields) form.append(name, value)
  const response = await fetch(`${server.url}/v1/audio/transcriptions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, ...headers },
    body: form
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) }
}

/** A customer paid exactly `usd` out of `before`: the entry, the header and the balance say the same. */
export const assertCharged = async (server: RunningServer, customer: Customer, headers: Headers, usd: string, before: string) => {
  assert.strictEqual(pico(headers.get("x-sluice-cost-usd") ?? ""), pico(usd))
  const charges = (await entriesOf(server, customer.key)).filter((entry) => entry.kind === "charge")
  assert.strictEqual(charges.length, 1)
  assert.strictEqual(charges[0]?.request_id, headers.get("x-sluice-request-id"))
  assert.strictEqual(pico(charges[0]?.amount_usd ?? ""), -pico(usd))
  const credits = await creditsOf(server, customer.key)
  assert.strictEqual(pico(credits.available_usd), pico(before) - pico(usd))
  assert.strictEqual(pico(credits.held_usd), 0n)
}

/** A customer paid nothing: a refund (or nothing at all) in the book, the balance as it was. */
export const assertUncharged = async (server: RunningServer, customer: Customer, before: string, kind: "refund" | null) => {
  const entries = (await entriesOf(server, customer.key)).filter((entry) => entry.request_id !== null)
  assert.deepStrictEqual(
    entries.map((entry) => entry.kind),
    kind === null ? [] : [kind]
  )
  const credits = await creditsOf(server, customer.key)
  assert.strictEqual(pico(credits.available_usd), pico(before))
  assert.strictEqual(pico(credits.held_usd), 0n)
}

interface Row {
  readonly id: string
  readonly outcome: string
  readonly model: string
  readonly provider: string
  readonly cost_usd: string
  readonly usage_source: string
  readonly tokens: { readonly input: number; readonly output: number }
  readonly attempts: ReadonlyArray<{ readonly provider: string; readonly status: number | null; readonly error: string | null }>
}

/** The newest request row of a customer. */
export const lastRequest = async (server: RunningServer, customer: Customer): Promise<Row> => {
  const { body } = await jsonCall<{ data: ReadonlyArray<Row> }>(server.url, customer.key, "GET", "/v1/requests?limit=1")
  const [row] = body.data
  if (row === undefined) throw new Error("there is no request row")
  return row
}
