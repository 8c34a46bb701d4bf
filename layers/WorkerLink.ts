/**
 * A worker's line to the process that keeps it.
 *
 * @since 0.1.0
 */
import cluster from "node:cluster"
import { Effect, Layer } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { Siblings } from "../src/replicas/Siblings.ts"
import * as Exposition from "../src/telemetry/Exposition.ts"
import { type FromWorker, toWorker } from "./WorkerMessages.ts"

/** How long a worker waits for what the others have counted, in milliseconds. */
const PATIENCE = 3_000

/** Whether this process is one of several that another keeps. @category accessors @since 0.1.0 */
export const isWorker = cluster.isWorker

/** Says something to who keeps this process. @category running @since 0.1.0 */
export const tell = (message: FromWorker): void => {
  if (process.connected) process.send?.(message)
}

/** Says where this worker listens. @category running @since 0.1.0 */
export const ready = (url: string): Effect.Effect<void> => Effect.sync(() => tell({ _tag: "Ready", url }))

/**
 * Stops this process when it is told to, and when who keeps it is gone: then nobody hands it connections any more, but what it
 * has is carried to its end. `hurry` is called when it is told not to wait.
 *
 * @category running
 * @since 0.1.0
 */
export const obey = (hurry: () => void): void => {
  let isStopping = false
  process.once("SIGTERM", () => {
    isStopping = true
  })
  // A terminal sends this to everybody at once; the process that keeps this one says what is to be done.
  process.on("SIGINT", () => {})
  const stop = (): void => {
    if (!isStopping) process.emit("SIGTERM", "SIGTERM")
  }
  cluster.worker?.on("disconnect", () => {
    if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
    stop()
  })
  process.on("message", (message) => {
    const told = toWorker(message)
    if (told?._tag === "Stop") stop()
    if (told?._tag === "Hurry") hurry()
  })
}

/** What all workers together have counted. @category layers @since 0.1.0 */
export const siblings = Layer.effect(
  Siblings,
  Effect.gen(function* () {
    const context = yield* Effect.context<never>()
    const waiting = new Map<number, (text: string | null) => void>()
    let questions = 0
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const hear = (message: unknown): void => {
          const told = toWorker(message)
          if (told?._tag === "Collect") {
            tell({ _tag: "Counted", round: told.round, text: Exposition.withCustomaryNames(PrometheusMetrics.formatUnsafe(context)) })
          }
          if (told?._tag === "Merged") waiting.get(told.question)?.(told.text)
        }
        process.on("message", hear)
        return hear
      }),
      (hear) => Effect.sync(() => process.off("message", hear))
    )
    return {
      withMetrics: (own) =>
        Effect.callback<string | null>((resume) => {
          const question = questions++
          waiting.set(question, (text) => resume(Effect.succeed(text)))
          tell({ _tag: "Merge", question, text: own })
          return Effect.sync(() => waiting.delete(question))
        }).pipe(Effect.timeoutOrElse({ duration: PATIENCE, orElse: () => Effect.succeed(null) }))
    }
  })
)
