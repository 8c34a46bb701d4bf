/**
 * An external cache behind HTTP: `GET` and `PUT` of a text under a key.
 *
 * What is put there is signed, and what comes back unsigned is not believed: who runs the cache can forget answers, not
 * make them up.
 *
 * @since 0.1.0
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import { Effect, Redacted } from "effect"
import { SharedStoreError, type Store } from "../src/caches/SharedStore.ts"
import type { ExternalCacheSettings } from "./Settings.ts"

const SIGNATURE = 64
const MOST = 2 * 1_024 * 1_024

const failed = (cause: unknown) => new SharedStoreError({ message: cause instanceof Error ? cause.message : "no answer" })

const readBounded = async (response: Response): Promise<string> => {
  const decoder = new TextDecoder()
  let bytes = 0
  let text = ""
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MOST) throw new Error("the external cache answered too much")
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

/** A store behind HTTP; `secret` signs what is kept there. @category constructors @since 0.1.0 */
export const make = ({ apiKey, url }: ExternalCacheSettings, secret: Redacted.Redacted): Store => {
  const authorization = apiKey === null ? {} : { authorization: `Bearer ${Redacted.value(apiKey)}` }
  const signingKey = createHmac("sha256", Redacted.value(secret)).update("external cache of answers").digest()
  const sign = (key: string, text: string) => createHmac("sha256", signingKey).update(`${key}\n${text}`).digest("hex")
  const urlOf = (key: string) => `${url.replace(/\/+$/, "")}/${encodeURIComponent(key)}`

  const unsealed = (key: string, sealed: string): string => {
    const text = sealed.slice(SIGNATURE + 1)
    const given = Buffer.from(sealed.slice(0, SIGNATURE))
    const right = Buffer.from(sign(key, text))
    if (given.length !== right.length || !timingSafeEqual(given, right)) throw new Error("the external cache answered what is not ours")
    return text
  }

  return {
    get: (key) =>
      Effect.tryPromise({
        try: async (signal) => {
          const response = await fetch(urlOf(key), { headers: authorization, signal, redirect: "error" })
          if (response.ok) return unsealed(key, await readBounded(response))
          await response.body?.cancel()
          if (response.status === 404) return null
          throw new Error(`the external cache answered ${response.status}`)
        },
        catch: failed
      }),
    set: (key, value, ttlMs) =>
      Effect.tryPromise({
        try: async (signal) => {
          const response = await fetch(urlOf(key), {
            method: "PUT",
            headers: {
              ...authorization,
              "content-type": "text/plain; charset=utf-8",
              "cache-control": `max-age=${Math.floor(ttlMs / 1_000)}`
            },
            body: `${sign(key, value)}\n${value}`,
            signal,
            redirect: "error"
          })
          await response.body?.cancel()
          if (!response.ok) throw new Error(`the external cache answered ${response.status}`)
        },
        catch: failed
      })
  }
}
