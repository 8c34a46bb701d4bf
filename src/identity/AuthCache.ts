/**
 * What authentication knows of keys and sessions without asking the database: who they belong to, and which are nobody's.
 *
 * Entries are under the key's hash, never the key. What is forgotten here is forgotten by every replica.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import { Broadcast } from "../replicas/Broadcast.ts"

/** A key, or a session, as the database has it. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface KeyRecord {
  readonly caller: Caller
  readonly userStatus: string
  readonly ipAllowlist: ReadonlyArray<string>
  readonly domainAllowlist: ReadonlyArray<string>
  readonly expiresAt: number | null
  readonly revokedAt: number | null
}

const KNOWN_SIZE = 10_000
const KNOWN_TTL = 300_000
const UNKNOWN_SIZE = 10_000
const UNKNOWN_TTL = 30_000

/** Where replicas tell each other whose keys changed. */
const CHANNEL = "identity"

/** What is used more often than this, in milliseconds, keeps its place in the order of use: to move it costs more than to find it. */
const TOUCH = 1_000

interface Entry<A> {
  readonly value: A
  readonly until: number
  touchedAt: number
}

/** Bounded, least recently used first out; a Map keeps the order. */
const remember = <A>(entries: Map<string, Entry<A>>, size: number, key: string, entry: Entry<A>): void => {
  entries.delete(key)
  if (entries.size >= size) {
    const oldest = entries.keys().next()
    if (oldest.done !== true) entries.delete(oldest.value)
  }
  entries.set(key, entry)
}

const recall = <A>(entries: Map<string, Entry<A>>, key: string, now: number): A | undefined => {
  const entry = entries.get(key)
  if (entry === undefined) return undefined
  if (now >= entry.until) {
    entries.delete(key)
    return undefined
  }
  if (now - entry.touchedAt >= TOUCH) {
    entry.touchedAt = now
    entries.delete(key)
    entries.set(key, entry)
  }
  return entry.value
}

/** @category services @since 0.1.0 */
export class AuthCache extends Context.Service<
  AuthCache,
  {
    /** A record, `"unknown"` for a key that is nobody's, undefined when nothing is known. */
    readonly get: (hash: string) => Effect.Effect<KeyRecord | "unknown" | undefined>
    /** The same at once, for whoever knows the time. */
    readonly recall: (hash: string, now: number) => KeyRecord | "unknown" | undefined
    /** A number that is another after anything was forgotten. */
    readonly generation: () => number
    /** Keeps what was read in a generation; what may have changed since it was read is not kept. */
    readonly set: (hash: string, record: KeyRecord | "unknown", generation: number) => Effect.Effect<void>
    /** Forgets everything of these accounts, here at once, and tells the other replicas. */
    readonly invalidate: (accountIds: ReadonlyArray<string>) => Effect.Effect<void>
    /** The same, here only. */
    readonly forget: (accountIds: ReadonlyArray<string>) => Effect.Effect<void>
    /** Forgets that a key is nobody's: it was made just now. */
    readonly forgetUnknown: (hash: string) => Effect.Effect<void>
    readonly clear: Effect.Effect<void>
  }
>()("sluice/identity/AuthCache") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const broadcast = yield* Broadcast
  const known = new Map<string, Entry<KeyRecord>>()
  // Apart from the others, so that a flood of made-up keys cannot push good ones out.
  const unknown = new Map<string, Entry<true>>()
  let generation = 0

  const recalled = (hash: string, now: number): KeyRecord | "unknown" | undefined =>
    recall(known, hash, now) ?? (recall(unknown, hash, now) === true ? "unknown" : undefined)
  const forget = (accountIds: ReadonlyArray<string>) =>
    Effect.sync(() => {
      generation++
      const gone = new Set(accountIds)
      for (const [hash, entry] of known) if (gone.has(entry.value.caller.accountId)) known.delete(hash)
    })
  const clear = Effect.sync(() => {
    generation++
    known.clear()
    unknown.clear()
  })

  yield* broadcast.subscribe(CHANNEL, (heard) => (heard._tag === "Gap" ? clear : forget([heard.message])))

  return AuthCache.of({
    get: (hash) => Effect.map(Clock.currentTimeMillis, (now) => recalled(hash, now)),
    recall: recalled,
    generation: () => generation,
    set: (hash, record, readIn) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (readIn !== generation) return
        if (record === "unknown") remember(unknown, UNKNOWN_SIZE, hash, { value: true, until: now + UNKNOWN_TTL, touchedAt: now })
        else remember(known, KNOWN_SIZE, hash, { value: record, until: now + KNOWN_TTL, touchedAt: now })
      }),
    invalidate: (accountIds) =>
      Effect.andThen(
        forget(accountIds),
        Effect.forEach(accountIds, (id) => broadcast.publish(CHANNEL, id), { discard: true })
      ),
    forget,
    forgetUnknown: (hash) =>
      Effect.sync(() => {
        generation++
        unknown.delete(hash)
      }),
    clear
  })
})
