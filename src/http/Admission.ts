/**
 * One request within the limits of its key, from when it comes in until it leaves.
 *
 * @since 0.1.0
 */
import { Effect, Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import type { Admitted, KeyLimits } from "../limits/KeyLimits.ts"
import * as ApiError from "./ApiError.ts"
import { limitHeaders } from "./LimitHeaders.ts"

const nothing = (): number => 0

/** @category models @since 0.1.0 */
export class Admission {
  /** Why it was not let in. */
  refused: ApiError.ApiError | null = null
  /** Where the limits stand. */
  headers: Record<string, string> = {}
  /** When it came in, in epoch milliseconds. */
  now = 0
  private readonly limits: KeyLimits["Service"]
  private readonly caller: Caller
  private readonly expected: number
  private entered: Admitted | null = null
  private used: () => number = nothing

  constructor(limits: KeyLimits["Service"], caller: Caller, expected: number) {
    this.limits = limits
    this.caller = caller
    this.expected = expected
  }

  /** Comes in at once; false where that takes time, and `enter` has to be run. */
  enterNow(): boolean {
    const entered = this.limits.enterNow(this.caller, this.expected)
    if (entered === null) return false
    this.came(entered)
    return true
  }

  enter(): Effect.Effect<void> {
    return Effect.uninterruptible(Effect.map(this.limits.enter(this.caller, this.expected), (entered) => this.came(entered)))
  }

  /** Is told the tokens that were used, where they are known by the end. */
  count(tokens: () => number): void {
    this.used = tokens
  }

  /** Gives back what it held; of one that did not come in there is nothing to give. */
  leave(): void {
    if (this.entered !== null) this.limits.leave(this.caller, this.entered, this.used())
  }

  private came(entered: Admitted): void {
    this.entered = entered
    if (entered.refused !== null) this.refused = ApiError.fromLimit(entered.refused, this.caller.isAnonymous)
    this.headers = limitHeaders(entered.view, entered.at)
    this.now = entered.at
  }
}

/** Lets a request in for as long as the Scope is open, if it keeps within the limits. @category constructors @since 0.1.0 */
export const admit = (limits: KeyLimits["Service"], caller: Caller, expected: number): Effect.Effect<Admission, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => {
    const admission = new Admission(limits, caller, expected)
    const leave = () => {
      admission.leave()
      return Effect.void
    }
    // Before it enters, so that whoever goes in between leaves nothing behind.
    return Effect.flatMap(Scope.addFinalizerExit(scope, leave), () =>
      admission.enterNow() ? Effect.succeed(admission) : Effect.as(admission.enter(), admission)
    )
  })
