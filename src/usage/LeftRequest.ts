/**
 * A request whose process is gone, as far as anybody knows it.
 *
 * @since 0.1.0
 */
import type { RequestRecord } from "./RequestBook.ts"

/** @category models @since 0.1.0 */
export interface LeftRequest
  extends Pick<
    RequestRecord,
    "account" | "id" | "keyId" | "clientRequestId" | "requestedModel" | "model" | "provider" | "startedAt" | "stream"
  > {
  /** Its end in the book; null where that has none. */
  readonly kind: "charge" | "refund" | null
  /** Picodollars. */
  readonly cost: bigint
}

const nothing = { input: 0, cached_read: 0, cache_write: 0, output: 0, reasoning: 0 }

/** Its row; nobody knows any more what was used and how long it took. @category conversions @since 0.1.0 */
export const toRecord = ({ cost, kind, ...known }: LeftRequest): RequestRecord => ({
  ...known,
  attempts: [],
  tokens: nothing,
  usageSource: "estimated",
  cost: kind === "charge" ? cost : 0n,
  latencyMs: 0,
  firstChunkMs: null,
  status: kind === "charge" ? 200 : 502,
  outcome: kind === "charge" ? "ok" : kind === "refund" ? "refunded" : "lost",
  details: { routing: null }
})
