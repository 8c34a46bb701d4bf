/**
 * `Idempotency-Key`: runs a request once, and answers its repetitions from what was kept.
 *
 * @since 0.1.0
 */
import { Cause, Effect, Redacted, type Scope } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import type { AccountId } from "../../schemas/Account.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import type { KeyHasher } from "../identity/KeyHasher.ts"
import type { Claim, ClaimRequest, Idempotency, StoredResponse } from "../ledger/Idempotency.ts"
import * as ApiError from "./ApiError.ts"

/** What a request does with its end. A request without a key keeps nothing. @category models @since 0.1.0 */
export interface Keeping {
  /** The id that the book knows the request by. */
  readonly rid: string
  /** Whether anything is kept, so that nothing is gathered for nobody. */
  readonly isKeyed: boolean
  /** Keeps a whole answer, before its end is told. */
  readonly done: (response: StoredResponse) => Effect.Effect<void>
  /** Nothing was charged: the key may run again. */
  readonly failed: Effect.Effect<void>
}

const MAX_KEY = 255

/** The request's key; 400 when it is not a sane one. @category accessors @since 0.1.0 */
export const keyOf = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string | null, ApiError.ApiError> => {
  const key = request.headers["idempotency-key"]
  if (key === undefined) return Effect.succeed(null)
  return key.length >= 1 && key.length <= MAX_KEY
    ? Effect.succeed(key)
    : Effect.fail(ApiError.invalid(`\`Idempotency-Key\` must have 1 to ${MAX_KEY} characters.`, "Idempotency-Key"))
}

const conflict = (message: string, retryAfterMs: number | null) => ApiError.make(409, "IDEMPOTENCY_CONFLICT", message, { retryAfterMs })

const refuse = (claim: Exclude<Claim, { readonly _tag: "Run" | "Replay" }>): ApiError.ApiError => {
  switch (claim._tag) {
    case "InFlight":
      return conflict("A request with this `Idempotency-Key` is under way. Ask again when it has ended.", 1_000)
    case "Spent":
      return conflict(
        "The request with this `Idempotency-Key` was charged and left no whole answer. Use another key to run it again.",
        null
      )
    case "Mismatch":
      return ApiError.make(422, "IDEMPOTENCY_KEY_REUSED", "This `Idempotency-Key` was used with another body.", {
        param: "Idempotency-Key"
      })
  }
}

const replay = (response: StoredResponse): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(response.body, {
    contentType: response.contentType,
    headers: { ...response.headers, "idempotent-replayed": "true" }
  })

/** Who asks, and what for. @category models @since 0.1.0 */
export interface KeyedOptions {
  readonly accountId: AccountId
  readonly path: string
  readonly body: JsonObject
  readonly key: string | null
  readonly requestId: string
}

interface KeyedServices {
  readonly idempotency: Idempotency["Service"]
  readonly hasher: KeyHasher["Service"]
}

/**
 * Runs `work` under the request's key, if it has one. Whoever leaves before the end has been charged for what was
 * produced, so the key is spent; a failure that was not charged gives it back.
 *
 * @category middleware
 * @since 0.1.0
 */
export const run = <R>(
  services: KeyedServices,
  options: KeyedOptions,
  work: (keeping: Keeping) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R | Scope.Scope> =>
  options.key === null
    ? work({ rid: options.requestId, isKeyed: false, done: () => Effect.void, failed: Effect.void })
    : runKeyed(services, { ...options, key: options.key }, work)

const runKeyed = Effect.fnUntraced(function* <R>(
  { hasher, idempotency }: KeyedServices,
  { accountId, body, key, path, requestId }: KeyedOptions & { readonly key: string },
  work: (keeping: Keeping) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R>
): Effect.fn.Return<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R | Scope.Scope> {
  const bodyHash = hasher.hash(Redacted.make(`${path}\n${JSON.stringify(body)}`))
  const request: ClaimRequest = { accountId, key, bodyHash, rid: requestId }
  const claim = yield* Effect.mapError(idempotency.claim(request), ApiError.fromLedger)
  if (claim._tag === "Replay") return replay(claim.response)
  if (claim._tag !== "Run") return yield* Effect.fail(refuse(claim))
  let ended = false
  const once = (effect: Effect.Effect<void>) =>
    Effect.suspend(() => {
      if (ended) return Effect.void
      ended = true
      return effect
    })
  yield* Effect.addFinalizer(() => once(idempotency.finish(request, null)))
  const failed = once(idempotency.abandon(request))
  return yield* work({ rid: claim.rid, isKeyed: true, done: (response) => once(idempotency.finish(request, response)), failed }).pipe(
    Effect.onError((cause) => (Cause.hasInterrupts(cause) ? Effect.void : failed))
  )
})
