/**
 * How fast models answer just now, for whoever has to choose between them.
 *
 * @since 0.1.0
 */
import { Context } from "effect"

/** Milliseconds that half of a model's latest answers at a provider took at most; null where too few are known. @category models @since 0.1.0 */
export type P50 = (model: string, provider: string) => number | null

/** Nothing is known unless a program provides it. @category references @since 0.1.0 */
export const Latencies = Context.Reference<P50>("sluice/routing/Latencies", { defaultValue: () => () => null })
