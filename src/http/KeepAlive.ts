/**
 * What is written on a stream when its provider is silent, and when the server cannot wait for its end.
 *
 * @since 0.1.0
 */
import { Context, Effect, type Scope } from "effect"
import type { HttpServerRequest } from "effect/http"

/** @category models @since 0.1.0 */
export interface KeepAlive {
  /**
   * From now until the Scope closes, `sign` (a whole event or comment) is written to the answer of `request` whenever nothing
   * else was for a while; and `cut`, the protocol's error, as its last, when the server stops before the stream ends.
   */
  readonly watch: (request: HttpServerRequest.HttpServerRequest, sign: string, cut: () => string) => Effect.Effect<void, never, Scope.Scope>
}

/** What the server does for its streams; a server that does nothing leaves them as they are. @category references @since 0.1.0 */
export const KeepAlive = Context.Reference<KeepAlive>("sluice/http/KeepAlive", { defaultValue: () => ({ watch: () => Effect.void }) })
