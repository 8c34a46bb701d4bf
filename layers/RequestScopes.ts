/**
 * The Scopes in which a server's requests run, kept from holding on to requests that have ended.
 *
 * Every request stands in its server's Scope while it runs: in a Map, which has the trouble that `YoungSet` tells of.
 *
 * @since 0.1.0
 */
import type { Server } from "node:http"
import type { Scope } from "effect"
import { OFTEN } from "./YoungSet.ts"

const isScope = (key: unknown): key is Scope.Scope => typeof key === "object" && key !== null && "~effect/Scope" in key

/** The Scopes that stand in another. @category running @since 0.1.0 */
export const scopesIn = ({ state }: Scope.Scope): ReadonlyArray<Scope.Scope> =>
  state._tag === "Open" ? [...(state.finalizers?.keys() ?? [state.finalizerKey])].filter(isScope) : []

const renew = ({ state }: Scope.Scope): void => {
  if (state._tag === "Open" && state.finalizers !== undefined) state.finalizers = new Map(state.finalizers)
}

/** Renews the Scopes that stand in one in which a server serves. @category running @since 0.1.0 */
export const keepYoung = (server: Server, serving: Scope.Scope): void => {
  let requests = 0
  server.on("request", () => {
    if (++requests % OFTEN === 0) scopesIn(serving).forEach(renew)
  })
}
