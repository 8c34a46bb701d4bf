/**
 * Which providers have next to nothing left of what they were paid in advance, for whoever orders candidates.
 *
 * @since 0.1.0
 */
import { Context } from "effect"

/** Nobody has unless a program provides it. @category references @since 0.1.0 */
export const LowCredit = Context.Reference<(provider: string) => boolean>("sluice/routing/LowCredit", { defaultValue: () => () => false })
