/**
 * Which model a conversation began with, so that it goes on with it while that is about as good as any other: answers in one
 * voice, and a prompt that its provider may have cached.
 *
 * **Gotchas**: a conversation is known by who asks, by its instructions and by its first words; each process remembers its own.
 *
 * @since 0.1.0
 */
import type { Turn } from "../../schemas/Conversation.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Contender } from "./Contender.ts"
import type { Ranked } from "./GeneralRouter.ts"
import type { GeneralMode } from "./RouterName.ts"

/** Conversations that are remembered, and for how many milliseconds after their latest turn. */
const CONVERSATIONS = 20_000
const REMEMBERED = 3_600_000
/** Characters that a conversation is known by. */
const KNOWN_BY = 4_000

const textOf = (parts: Turn["parts"]): string => parts.flatMap((part) => (part._tag === "Text" ? [part.text] : [])).join("\n")

/** Two hashes of 32 bits each: a mistake would cost no more than a second-best model. */
const hashOf = (text: string): string => {
  let [one, other] = [0x811c9dc5, 0x9e3779b9]
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    one = Math.imul(one ^ code, 0x01000193)
    other = Math.imul(other ^ code, 0x85ebca6b)
    other ^= other >>> 13
  }
  return `${(one >>> 0).toString(36)}${(other >>> 0).toString(36)}`
}

/** A conversation's name, and whether it has begun; null where it has none. @category models @since 0.1.0 */
export interface KnownConversation {
  readonly key: string
  readonly hasBegun: boolean
}

/** @category accessors @since 0.1.0 */
export const conversationOf = (router: string, request: InferenceRequest, accountId: string | null): KnownConversation | null => {
  if (accountId === null) return null
  const { system, turns } = request.conversation()
  const first = turns.find((turn) => turn.role === "user")
  if (first === undefined) return null
  const words = `${textOf(system).slice(0, KNOWN_BY)}\n${textOf(first.parts).slice(0, KNOWN_BY)}`
  return { key: `${accountId} ${router} ${hashOf(words)}`, hasBegun: turns.some((turn) => turn.role === "assistant") }
}

/** Models of conversations, the longest silent forgotten first. `now` is epoch milliseconds. @category models @since 0.1.0 */
export class Conversations {
  private readonly models = new Map<string, { readonly model: string; readonly until: number }>()

  get size(): number {
    return this.models.size
  }

  modelOf({ hasBegun, key }: KnownConversation, now: number): string | null {
    const found = hasBegun ? this.models.get(key) : undefined
    return found === undefined || now >= found.until ? null : found.model
  }

  remember({ key }: KnownConversation, model: string, now: number): void {
    this.models.delete(key)
    this.models.set(key, { model, until: now + REMEMBERED })
    if (this.models.size <= CONVERSATIONS) return
    const oldest = this.models.keys().next()
    if (oldest.done !== true) this.models.delete(oldest.value)
  }
}

/** Points of a hundred that a model may be behind the best and still go on. */
const POINTS = 5

/** By what a mode asks for, of a hundred. */
const behind = (mode: GeneralMode, best: Ranked, one: Ranked): number => {
  const share = (of: (contender: Contender) => number | null): number => {
    const [least, own] = [of(best.contender), of(one.contender)]
    return least === null || own === null ? Number.POSITIVE_INFINITY : own <= least ? 0 : 100 * (1 - least / own)
  }
  if (mode === "quality") return best.contender.quality - one.contender.quality
  if (mode === "balanced") return 100 * (best.score - one.score)
  return mode === "cost" ? share(({ blended }) => blended) : share(({ p50 }) => p50)
}

/** The model of a conversation before all others, while it is about as good as the best of them. @category ordering @since 0.1.0 */
export const keepModel = (mode: GeneralMode, ranked: ReadonlyArray<Ranked>, model: string | null): ReadonlyArray<Ranked> => {
  const [best] = ranked
  const one = model === null ? undefined : ranked.find(({ contender }) => contender.model.id === model)
  if (best === undefined || one === undefined || one === best) return ranked
  // What is too poor, or unmeasured, is behind by however much: such a score is no distance.
  const isWithin = one.score > Number.NEGATIVE_INFINITY && behind(mode, best, one) <= POINTS
  return isWithin ? [one, ...ranked.filter((entry) => entry !== one)] : ranked
}
