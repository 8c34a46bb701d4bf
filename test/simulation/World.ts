/**
 * Time, chance and processes of a simulation: one thread, nothing that the seed does not decide.
 */
import { Clock, Context, Duration, Effect, type Fiber, References, Scheduler } from "effect"
import { seeded } from "../support/seeded.ts"

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A day in which nothing happens at midnight. */
const START = 1_767_258_000_000

export class World {
  /** True time in milliseconds; what machines believe may differ. */
  now = START
  readonly random: () => number
  private readonly events: Array<Event> = []
  private readonly ready: Array<() => void> = []
  private order = 0

  constructor(seed: number) {
    this.random = seeded(seed)
  }

  get elapsed(): number {
    return this.now - START
  }

  chance(probability: number): boolean {
    return this.random() < probability
  }

  between(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1))
  }

  pick<A>(items: ReadonlyArray<A>): A | undefined {
    return items[Math.floor(this.random() * items.length)]
  }

  after(ms: number, run: () => void): void {
    const event = { at: this.now + Math.max(0, ms), order: this.order++, run }
    // A binary heap, earliest first.
    let at = this.events.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (before(this.events[parent], event)) break
      this.swap(at, parent)
      at = parent
    }
  }

  /** Runs everything until a moment of true time. */
  runUntil(end: number): void {
    for (;;) {
      while (this.ready.length > 0) {
        // Whoever is ready goes on in any order.
        const at = Math.floor(this.random() * this.ready.length)
        const task = this.ready[at]
        const last = this.ready.pop()
        if (at < this.ready.length && last !== undefined) this.ready[at] = last
        task?.()
      }
      const next = this.events[0]
      if (next === undefined || next.at > end) break
      this.take()
      this.now = next.at
      next.run()
    }
    this.now = end
  }

  /** Fibers of this world: ready ones go on in an order of chance, and may be stopped between any two steps. */
  readonly scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    shouldYield: () => this.random() < 0.01,
    makeDispatcher: () => ({
      scheduleTask: (task) => {
        this.ready.push(task)
      },
      flush: () => {}
    })
  }

  private swap(a: number, b: number): void {
    const [x, y] = [this.events[a], this.events[b]]
    if (x !== undefined && y !== undefined) {
      this.events[a] = y
      this.events[b] = x
    }
  }

  private take(): void {
    const last = this.events.pop()
    if (last === undefined || this.events.length === 0) return
    this.events[0] = last
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      const smaller = before(this.events[right], this.events[left]) ? right : left
      if (!before(this.events[smaller], last)) return
      this.swap(at, smaller)
      at = smaller
    }
  }
}

const before = (a: Event | undefined, b: Event | undefined): boolean =>
  a !== undefined && (b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order))

/** A machine's process: it may stop for a while, sleep with its machine, believe in another time, or die. */
export class Machine {
  alive = true
  /** The network between this machine and the database. */
  connected = true
  private readonly world: World
  private stopped = false
  /** How often it was stopped; a stop under way counts. */
  pauses = 0
  private readonly missed: Array<() => void> = []
  private skew = 0
  /** Time that the monotonic clock did not count. */
  private asleep = 0
  private sleptSince = 0

  constructor(world: World) {
    this.world = world
  }

  /** Does something in this process: now, when it goes on, or never. */
  deliver(run: () => void): void {
    if (!this.alive) return
    if (this.stopped) this.missed.push(run)
    else run()
  }

  stop(): void {
    this.stopped = true
    this.pauses++
    this.sleptSince = this.world.now
  }

  /** Goes on; `slept` when the whole machine did, so that its monotonic clock stood still. */
  goOn(slept: boolean): void {
    this.stopped = false
    if (slept) this.asleep += this.world.now - this.sleptSince
    for (const run of this.missed.splice(0)) this.world.after(this.world.between(0, 3), () => this.deliver(run))
  }

  setClock(skew: number): void {
    this.skew = skew
  }

  get isStopped(): boolean {
    return this.stopped
  }

  /** Milliseconds by the wall clock and by the monotonic one. */
  get wall(): number {
    return this.world.now + this.skew
  }
  get monotonic(): number {
    return this.world.now - this.asleep
  }

  readonly clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => this.wall,
    currentTimeMillis: Effect.sync(() => this.wall),
    currentTimeNanosUnsafe: () => BigInt(this.wall) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(this.wall) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(this.monotonic) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(this.monotonic) * 1_000_000n),
    sleep: (duration) =>
      Effect.callback((resume) => {
        let over = false
        this.world.after(Duration.toMillis(duration), () => this.deliver(() => over || resume(Effect.void)))
        return Effect.sync(() => {
          over = true
        })
      })
  }

  /** Starts something in this process. */
  readonly fork = <A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> => {
    const services = Context.make(Scheduler.Scheduler, this.world.scheduler).pipe(
      Context.add(References.CurrentLoggers, new Set()),
      Context.add(Clock.Clock, this.clock)
    )
    return Effect.runForkWith(services)(effect)
  }
}
