import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Scope } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as RequestScopes from "../../layers/RequestScopes.ts"

/** The Map of all that runs in a Scope which stands in another. */
const tableOf = (serving: Scope.Scope) => {
  for (const { state } of RequestScopes.scopesIn(serving)) {
    if (state._tag === "Open" && state.finalizers !== undefined) return state.finalizers
  }
  return assert.fail("nothing runs")
}

describe("the Scopes of requests", () => {
  it.live("are renewed while requests run, of which none is forgotten", () =>
    Effect.gen(function* () {
      const begun = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
      let cut = 0
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
        const number = Number(url.slice("/wait/".length))
        if (!url.startsWith("/wait/")) return Effect.as(Effect.yieldNow, HttpServerResponse.text("done"))
        const waiting = Effect.andThen(Deferred.succeed(begun[number] ?? assert.fail(url), undefined), Effect.never)
        return Effect.onInterrupt(Effect.interruptible(waiting), () => Effect.sync(() => cut++))
      })
      const node = createServer()
      const serving = yield* Scope.make("parallel")
      const url = yield* Scope.provide(
        Effect.gen(function* () {
          const server = yield* NodeHttpServer.make(() => node, { host: "127.0.0.1", port: 0, disablePreemptiveShutdown: true })
          yield* Effect.provideService(HttpServer.serveEffect(app), HttpServer.HttpServer, server)
          RequestScopes.keepYoung(node, serving)
          return HttpServer.formatAddress(server.address)
        }),
        serving
      )
      const left = [0, 1].map((number) => fetch(`${url}/wait/${number}`).catch(() => "cut"))
      yield* Effect.forEach(begun, Deferred.await)
      // Whoever runs is entered when his first step is over.
      yield* Effect.sleep(20)
      const first = tableOf(serving)
      for (let request = 0; request < 300; request++) yield* Effect.promise(() => fetch(url).then((response) => response.text()))
      assert.notStrictEqual(tableOf(serving), first)
      node.closeIdleConnections()
      yield* Scope.close(serving, Exit.void)
      assert.strictEqual(cut, 2)
      node.closeAllConnections()
      yield* Effect.promise(() => Promise.all(left))
    })
  )
})
