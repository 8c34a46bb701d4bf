/**
 * Who comes near a limit, told once for each of its windows.
 *
 * @since 0.1.0
 */
import type { AccountId, Caller } from "../../schemas/Account.ts"
import type { KeyWindow, LimitName } from "./KeyWindows.ts"

/** A key has used most of a window. @category models @since 0.1.0 */
export interface Approach {
  readonly accountId: AccountId
  readonly keyId: string
  readonly limit: LimitName
  readonly used: number
  readonly most: number
  /** Epoch milliseconds. */
  readonly resetAt: number
  /** Names the window, the same in every replica. */
  readonly window: string
}

/** The part of a limit from which on it is near. */
const NEAR = 0.8
/** Windows remembered as told; whoever listens tells once for sure. */
const REMEMBERED = 10_000

/** @category models @since 0.1.0 */
export class ApproachWatch {
  readonly listeners = new Set<(approach: Approach) => void>()
  private readonly told = new Set<string>()

  /** Looks at what a request has counted. */
  look(caller: Caller, windows: ReadonlyArray<KeyWindow>, counts: ReadonlyArray<number>): void {
    if (this.listeners.size === 0 || caller.isAnonymous) return
    for (let at = 0; at < windows.length; at++) {
      const window = windows[at]
      const used = counts[at] ?? 0
      // Bursts and places come and go.
      if (window === undefined || used < window.most * NEAR || window.most === 0 || window.resetAt === null) continue
      const { key, limit, most, resetAt } = window
      if (this.told.has(key)) continue
      if (this.told.size >= REMEMBERED) this.told.clear()
      this.told.add(key)
      const { accountId, keyId } = caller
      for (const listener of this.listeners) {
        listener({ accountId, keyId, limit, used, most, resetAt, window: key })
      }
    }
  }
}
