/**
 * A classifier behind HTTP: any endpoint that answers as OpenAI's `/v1/moderations` does.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Redacted, Schema } from "effect"
import { Moderation, ModerationError } from "../src/guardrails/Moderation.ts"
import type { ModerationSettings } from "./Settings.ts"

const Answer = Schema.Struct({
  results: Schema.Array(
    Schema.Struct({
      flagged: Schema.Boolean,
      categories: Schema.optionalKey(Schema.Record(Schema.String, Schema.NullOr(Schema.Boolean)))
    })
  ).check(Schema.isMinLength(1))
})
const decode = Schema.decodeUnknownEffect(Answer)

const failed = (cause: unknown) => new ModerationError({ message: cause instanceof Error ? cause.message : "no verdict" })

/** @category layers @since 0.1.0 */
export const layer = ({ apiKey, model, timeoutMs, url }: ModerationSettings): Layer.Layer<Moderation> => {
  const headers = {
    "content-type": "application/json",
    ...(apiKey === null ? {} : { authorization: `Bearer ${Redacted.value(apiKey)}` })
  }
  const ask = (input: string) =>
    Effect.tryPromise({
      try: async (signal): Promise<unknown> => {
        const response = await fetch(url, {
          method: "POST",
          headers,
          body: JSON.stringify({ input, ...(model === null ? {} : { model }) }),
          signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
        })
        if (!response.ok) throw new Error(`the classifier answered ${response.status}`)
        return response.json()
      },
      catch: failed
    })
  return Layer.succeed(Moderation, {
    judge: Effect.fnUntraced(function* (text: string) {
      const { results } = yield* Effect.mapError(Effect.flatMap(ask(text), decode), failed)
      const categories = results.flatMap((result) =>
        Object.entries(result.categories ?? {}).flatMap(([name, is]) => (is === true ? [name] : []))
      )
      return { isHarmful: results.some((result) => result.flagged), categories: [...new Set(categories)].sort() }
    })
  })
}
