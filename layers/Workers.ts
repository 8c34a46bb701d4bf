/**
 * Several processes that serve as one: the process that keeps them hands them the connections of one port, starts a new one for
 * one that died, and ends when all have ended.
 *
 * @since 0.1.0
 */
import cluster, { type Worker } from "node:cluster"
import { Clock, Data, Deferred, Effect } from "effect"
import * as Door from "./Door.ts"
import { WorkerCounts } from "./WorkerCounts.ts"
import { fromWorker } from "./WorkerMessages.ts"

/** A worker did not come up, or did not end well. @category errors @since 0.1.0 */
export class WorkerFailed extends Data.TaggedError("WorkerFailed")<{ readonly message: string }> {}

/** @category models @since 0.1.0 */
export interface WorkersOptions {
  readonly count: number
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  /** Ends the wait for what still runs when all are told to stop. */
  readonly hurry: Effect.Effect<void>
}

/** Milliseconds until a worker that died is started again: the first time, and at most. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 10_000
/** Milliseconds until a worker that ended has no more to say. */
const LAST_WORDS = 50
/** Who lived this long did not die of what kills at the start. */
const HEALTHY = 60_000

/** The place of one worker: the process in it changes, its number does not. */
interface Place {
  readonly name: string
  worker: Worker | null
  isReady: boolean
  readonly came: Deferred.Deferred<string, WorkerFailed>
}

interface End {
  readonly code: number | null
  readonly signal: string | null
}

const wellEnded = ({ code }: End): boolean => code === 0

const wordsOf = ({ code, signal }: End): string => (signal === null || signal === "" ? `ended with ${code}` : `was ended by ${signal}`)

class Pool {
  readonly places: ReadonlyArray<Place>
  private readonly counts = new WorkerCounts()
  private readonly door: Door.Door
  isStopping = false

  constructor(count: number, door: Door.Door) {
    this.door = door
    this.places = Array.from({ length: count }, (_, index) => ({
      name: String(index + 1),
      worker: null,
      isReady: false,
      came: Deferred.makeUnsafe()
    }))
  }

  /** Runs one process in a place until it ends. */
  run(place: Place): Effect.Effect<End> {
    return Effect.callback((resume) => {
      const worker = cluster.fork({ PORT: String(this.door.address.port) })
      place.worker = worker
      worker.on("error", () => {})
      worker.on("message", (message: unknown) => this.hear(place, worker, message))
      worker.once("exit", (code: number | null, signal: string | null) => {
        place.worker = null
        place.isReady = false
        this.counts.left(place.name)
        // Its end may be heard of before its last words.
        setTimeout(() => this.door.lost(worker), LAST_WORDS)
        resume(Effect.succeed({ code, signal }))
      })
    })
  }

  /** Who has not come up yet hears no message. */
  stop(place: Place): void {
    if (place.isReady) Door.say(place.worker, { _tag: "Stop" })
    else place.worker?.process.kill("SIGTERM")
  }

  /** Told all to stop, no worker comes any more. */
  finish(): void {
    this.isStopping = true
    this.door.finish()
  }

  private hear(place: Place, worker: Worker, message: unknown): void {
    const told = fromWorker(message)
    if (told === null) return
    this.door.hear(worker, told)
    if (told._tag === "Ready") {
      place.isReady = true
      Deferred.doneUnsafe(place.came, Effect.succeed(told.url))
    }
    if (told._tag === "Counted") this.counts.heard(place.name, told.text, told.round)
    if (told._tag === "Merge") {
      this.counts.heard(place.name, told.text)
      const others = this.places.filter((other) => other !== place && other.isReady)
      const ask = (name: string, round: number): void => {
        for (const other of others) if (other.name === name) Door.say(other.worker, { _tag: "Collect", round })
      }
      const names = others.map(({ name }) => name)
      void this.counts.collect(names, ask).then((text) => Door.say(place.worker, { _tag: "Merged", question: told.question, text }))
    }
  }
}

/** Keeps a place filled, with longer and longer pauses for who dies again and again. Gives how the last process ended after the stop. */
const keep = Effect.fnUntraced(function* (pool: Pool, place: Place) {
  for (let pause = FIRST_PAUSE; ; ) {
    const startedAt = yield* Clock.currentTimeMillis
    const end = yield* pool.run(place)
    if (pool.isStopping) return end
    // The first of all says by itself why it cannot start; to try again would say it again.
    const failed = new WorkerFailed({ message: `Worker ${place.name} could not start: it ${wordsOf(end)}.` })
    if (Deferred.doneUnsafe(place.came, Effect.fail(failed))) return end
    if ((yield* Clock.currentTimeMillis) - startedAt > HEALTHY) pause = FIRST_PAUSE
    yield* Effect.logWarning(`Worker ${place.name} ${wordsOf(end)}; another takes its place in ${pause} ms`)
    yield* Effect.sleep(pause)
    pause = Math.min(LONGEST_PAUSE, pause * 2)
    if (pool.isStopping) return { code: 0, signal: null }
  }
})

/** Tells all to stop and waits until they have. */
const stopAll = Effect.fnUntraced(function* (pool: Pool, hurry: Effect.Effect<void>) {
  pool.finish()
  const running = pool.places.filter(({ worker }) => worker !== null)
  const ended = running.map((place) =>
    Effect.callback<boolean>((resume) => {
      const { isReady } = place
      const done = (end: End): void => resume(Effect.succeed(wellEnded(end) || (!isReady && end.signal === "SIGTERM")))
      if (place.worker === null) return done({ code: 0, signal: null })
      place.worker.once("exit", (code: number | null, signal: string | null) => done({ code, signal }))
      pool.stop(place)
    })
  )
  const hurrying = Effect.andThen(
    hurry,
    Effect.sync(() => {
      for (const place of running) Door.say(place.worker, { _tag: "Hurry" })
    })
  )
  const all = Effect.all(ended, { concurrency: "unbounded" })
  const well = yield* Effect.raceFirst(all, Effect.andThen(hurrying, Effect.never))
  if (well.includes(false)) return yield* Effect.die(new WorkerFailed({ message: "A worker did not end well." }))
})

/**
 * Runs workers until interrupted; each runs this program again, with the same arguments. `started` is told where they listen
 * once all do. Fails when one cannot start at all.
 *
 * @category running
 * @since 0.1.0
 */
export const supervise = Effect.fnUntraced(function* (options: WorkersOptions, started: (url: string) => Effect.Effect<void>) {
  const pool = new Pool(options.count, yield* Door.open(options))
  const [first, ...others] = pool.places
  return yield* Effect.gen(function* () {
    if (first === undefined) return yield* Effect.never
    yield* Effect.forkChild(keep(pool, first))
    // One alone prepares the database, and is the only one to complain when something is wrong.
    const url = yield* Deferred.await(first.came)
    for (const other of others) yield* Effect.forkChild(keep(pool, other))
    yield* Effect.forEach(others, ({ came }) => Deferred.await(came), { concurrency: "unbounded", discard: true })
    yield* started(url)
    return yield* Effect.never
  }).pipe(Effect.ensuring(stopAll(pool, options.hurry)))
}, Effect.scoped)
