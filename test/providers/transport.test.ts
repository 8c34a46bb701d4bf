/**
 * The transport against real sockets: its ends, its times, its backpressure.
 */
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Scope, Stream } from "effect"
import * as UndiciTransport from "../../layers/UndiciTransport.ts"
import { Transport } from "../../src/providers/Transport.ts"
import { toStream } from "../../src/streams/Source.ts"

const layer = UndiciTransport.layer({ firstByteTimeoutMs: 200, idleTimeoutMs: 200 })

/** A server whose every request is handled as said; its URL, and when each request's socket closed. */
const serverOf = (handle: (response: ServerResponse) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ url: string; closed: Array<number>; close: () => void }>((resume) => {
      const closed: Array<number> = []
      const server = createServer((request, response) => {
        response.on("close", () => closed.push(Date.now()))
        request.resume()
        handle(response)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const { port }: Pick<AddressInfo, "port"> = typeof address === "object" && address !== null ? address : { port: 0 }
        const close = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}/v1/x`, closed, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const send = (url: string) =>
  Effect.flatMap(Transport, (transport) =>
    transport.send({ method: "POST", url, headers: { "content-type": "application/json" }, body: "{}" })
  )
const test = (title: string, work: () => Effect.Effect<void, unknown, Transport | Scope.Scope>) =>
  it.live(title, () => Effect.scoped(work()).pipe(Effect.provide(layer), Effect.orDie))
const reasonOf = <A>(effect: Effect.Effect<A, { readonly reason: object }, Transport | Scope.Scope>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("the transport", () => {
  test("completes: head and every byte", () =>
    Effect.gen(function* () {
      const { url } = yield* serverOf((response) => {
        response.writeHead(201, { "x-one": "1" })
        response.write("ab")
        setTimeout(() => response.end("cd"), 20)
      })
      const answer = yield* send(url)
      assert.strictEqual(answer.status, 201)
      assert.strictEqual(answer.headers["x-one"], "1")
      const chunks = yield* Stream.runCollect(toStream(answer.body))
      assert.strictEqual(Buffer.concat(chunks).toString(), "abcd")
    }))

  test("hands on what comes until it is taken no more; what is left, and the end, is pulled", () =>
    Effect.gen(function* () {
      const { url } = yield* serverOf((response) => {
        response.writeHead(200)
        const say = (at: number): void => {
          if (at === 5) response.end()
          else response.write(String(at), () => setTimeout(() => say(at + 1), 20))
        }
        say(0)
      })
      const { body: source } = yield* send(url)
      let handed = ""
      const take = (chunks: ReadonlyArray<Uint8Array>): boolean => {
        handed += Buffer.concat(chunks).toString()
        return handed.length < 3
      }
      let pulled = Buffer.concat(yield* source.pull).toString()
      yield* source.flow(take)
      assert.isAtLeast(handed.length, 3)
      let ended = false
      while (!ended) {
        const read = yield* Effect.option(source.pull)
        if (read._tag === "None") ended = true
        else pulled += Buffer.concat(read.value).toString()
      }
      assert.strictEqual([...pulled, ...handed].sort().join(""), "01234")
      yield* source.flow(() => assert.fail("nothing is left"))
    }))

  test("what breaks where it is handed on is a defect, and no fault of the provider", () =>
    Effect.gen(function* () {
      const { url } = yield* serverOf((response) => {
        response.writeHead(200)
        response.write("a")
        setTimeout(() => response.write("b"), 50)
      })
      const { body: source } = yield* send(url)
      yield* source.pull
      const exit = yield* Effect.exit(
        source.flow(() => {
          throw new Error("ours")
        })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause), String(exit))
    }))

  /** Reads a first piece, says that it was all, and leaves; when the server saw the connection close, after so many milliseconds. */
  const leaveAfterAll = (handle: (response: ServerResponse) => void, ms: number) =>
    Effect.gen(function* () {
      const sockets = new Set<object | null>()
      const { closed, url } = yield* serverOf((response) => {
        sockets.add(response.socket)
        handle(response)
      })
      const one = Effect.scoped(
        Effect.gen(function* () {
          const answer = yield* send(url)
          yield* Stream.runDrain(Stream.take(toStream(answer.body), 1))
          answer.finished?.()
        })
      )
      yield* one
      yield* Effect.sleep(ms)
      const gone = closed.length
      yield* one
      return { gone, connections: sockets.size }
    })

  test("uses a connection again whose answer was read to what is its last word, though its end came later", () =>
    Effect.gen(function* () {
      const { connections } = yield* leaveAfterAll((response) => {
        response.write("all")
        setTimeout(() => response.end(), 30)
      }, 100)
      assert.strictEqual(connections, 1)
    }))

  test("lets a server go that has said its last word and does not end", () =>
    Effect.gen(function* () {
      const { connections, gone } = yield* leaveAfterAll((response) => response.write("all"), 2_000)
      assert.strictEqual(gone, 1)
      assert.strictEqual(connections, 2)
    }))

  test("fails where nobody listens, and where the connection is reset before the head", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* reasonOf(send("http://127.0.0.1:1/x")), {
        _tag: "ProviderConnection",
        answered: false,
        message: "ECONNREFUSED"
      })
      const { url } = yield* serverOf((response) => response.destroy())
      assert.deepInclude(yield* reasonOf(send(url)), { _tag: "ProviderConnection", answered: false })
    }))

  test("is empty: a head and no body", () =>
    Effect.gen(function* () {
      const { url } = yield* serverOf((response) => response.end())
      assert.deepStrictEqual(yield* Stream.runCollect(toStream((yield* send(url)).body)), [])
    }))

  test("stalls: before the head, before the first byte, between two", () =>
    Effect.gen(function* () {
      const silent = yield* serverOf(() => {})
      assert.deepInclude(yield* reasonOf(send(silent.url)), { _tag: "ProviderTimeout", phase: "first_byte" })
      const headOnly = yield* serverOf((response) => response.flushHeaders())
      assert.deepInclude(yield* reasonOf(Effect.flatMap(send(headOnly.url), ({ body }) => Stream.runDrain(toStream(body)))), {
        phase: "first_byte"
      })
      const half = yield* serverOf((response) => response.write("half"))
      assert.deepInclude(yield* reasonOf(Effect.flatMap(send(half.url), ({ body }) => Stream.runDrain(toStream(body)))), { phase: "idle" })
    }))

  test("breaks midway", () =>
    Effect.gen(function* () {
      const { url } = yield* serverOf((response) => {
        response.write("half")
        setTimeout(() => response.destroy(), 20)
      })
      assert.deepInclude(yield* reasonOf(Effect.flatMap(send(url), ({ body }) => Stream.runDrain(toStream(body)))), {
        _tag: "ProviderConnection",
        answered: true
      })
    }))

  test("a consumer who is gone closes the socket at once, waiting for the head or reading", () =>
    Effect.gen(function* () {
      const waiting = yield* serverOf(() => {})
      const fiber = yield* Effect.forkChild(Effect.scoped(send(waiting.url)), { startImmediately: true })
      yield* Effect.sleep(50)
      const leftAt = Date.now()
      yield* Fiber.interrupt(fiber)
      const reading = yield* serverOf((response) => response.write("x"))
      const scope = yield* Scope.make()
      const answer = yield* Effect.provideService(send(reading.url), Scope.Scope, scope)
      yield* Stream.runDrain(Stream.take(toStream(answer.body), 1))
      yield* Scope.close(scope, Exit.void)
      yield* Effect.sleep(60)
      for (const { closed } of [waiting, reading]) assert.isBelow((closed[0] ?? Number.POSITIVE_INFINITY) - leftAt, 100)
    }))

  test("a consumer who does not read holds the provider back, however much it has to say", () =>
    Effect.gen(function* () {
      let written = 0
      const { url } = yield* serverOf((response) => {
        const piece = Buffer.alloc(64 * 1_024)
        const pump = () => {
          while (written < 64 * 1_024 * 1_024) {
            written += piece.length
            if (!response.write(piece)) return void response.once("drain", pump)
          }
          response.end()
        }
        pump()
      })
      const answer = yield* send(url)
      yield* Effect.sleep(500)
      // What the kernel and both ends may buffer, far from all of it; and a pause of ours is no silence of the provider's.
      assert.isBelow(written, 16 * 1_024 * 1_024)
      let read = 0
      yield* Stream.runForEach(toStream(answer.body), (chunk) => Effect.sync(() => (read += chunk.length)))
      assert.strictEqual(read, 64 * 1_024 * 1_024)
    }))
})
