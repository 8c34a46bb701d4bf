/**
 * One history: a few processes, a few accounts, requests, and whatever can go wrong; then the invariants.
 */
import { Effect, type Fiber } from "effect"
import * as Money from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import { make as makeCommitter } from "../../src/ledger/Committer.ts"
import type { Journals } from "../../src/ledger/Journal.ts"
import { type Hold, holds } from "../../src/ledger/Ledger.ts"
import type { LedgerBook, SettleRow } from "../../src/ledger/LedgerBook.ts"
import { pricing } from "../support/scripted.ts"
import { type Mutations, SimulatedBook } from "./SimulatedBook.ts"
import { Machine, World } from "./World.ts"

/** Ways to break the ledger that a simulation worth its name notices. */
export interface Mutant extends Mutations {
  readonly reclaimAtTtl?: boolean
  readonly noDeadline?: boolean
  readonly monotonicOnly?: boolean
  readonly endBeforeCommit?: boolean
  readonly holdFreedEarly?: boolean
  readonly journalForgets?: boolean
}

export interface Verdict {
  readonly seed: number
  readonly violations: ReadonlyArray<string>
  /** A digest of all that happened: the same seed gives the same. */
  readonly trace: number
  readonly requests: number
  readonly served: number
  /** Refused although the money was there at that moment. */
  readonly wrongRefusals: number
}

const TTL = 8_000
const HEARTBEAT = 2_000
const RECLAIM_AFTER = 14_000
/** Requests begin until then, everything is mended then, and the verdict falls then (milliseconds). */
const ACTIVE = 15_000
const MENDED = 32_000
const END = 62_000

type Stage = "asked" | "refused" | "held" | "ending" | "released" | "seen"

interface Request {
  readonly rid: string
  readonly account: string
  readonly need: bigint
  readonly kind: "charge" | "refund" | "release"
  readonly cost: bigint
  readonly process: Process
  stage: Stage
  held: bigint
}

interface Process {
  readonly name: string
  readonly host: string
  readonly machine: Machine
  ledger: ReturnType<typeof holds> | null
  node: () => string
  admits: boolean
  fiber: Fiber.Fiber<unknown, unknown> | null
}

/** How the network and the database treat messages in one history. */
interface Weather {
  requestLost: number
  replyLost: number
  late: number
  deadlock: number
  readonly journalBreaks: boolean
  /** One host with a database of its own, whose ends are kept in the journal and written a little later. */
  readonly journalFirst: boolean
}

const ACCOUNTS = ["poor", "some", "rich"] as const

class History {
  readonly world: World
  readonly book: SimulatedBook
  readonly violations: Array<string> = []
  readonly requests: Array<Request> = []
  readonly mutant: Mutant
  readonly weather: Weather
  private readonly processes: Array<Process> = []
  private readonly disks = new Map<string, Map<string, { node: string; process: string; rows: Array<SettleRow> }>>()
  private readonly unsecured = new Set<string>()
  /** Holds that were open, or ended and not written, in a living process when it was taken for dead: what may be short afterwards. */
  private exposed = 0n
  /** The database lost commits that it had acknowledged. */
  private forgot = false
  private downUntil = 0
  private trace = 0
  private names = 0
  wrongRefusals = 0

  private readonly listener: ((what: string) => void) | undefined

  constructor(seed: number, mutant: Mutant, listener?: (what: string) => void) {
    this.listener = listener
    this.world = new World(seed)
    this.mutant = mutant
    this.book = new SimulatedBook(() => this.world.now, mutant)
    const { world } = this
    const rough = world.chance(0.6)
    const rate = () => (rough ? (world.pick([0, 0.02, 0.1]) ?? 0) : 0)
    const messages = { requestLost: rate(), replyLost: rate(), late: rate(), deadlock: rate() }
    this.weather = { ...messages, journalBreaks: world.chance(0.1), journalFirst: world.chance(0.25) }
  }

  note(what: string): void {
    this.listener?.(what)
    for (let i = 0; i < what.length; i++) this.trace = (Math.imul(this.trace, 31) + what.charCodeAt(i)) | 0
  }

  get digest(): number {
    return this.trace
  }

  /** One call to the database, with everything that can befall it on the way there and back. */
  private call<A>(process: Process, name: string, apply: () => A): Effect.Effect<A, unknown> {
    const { weather, world } = this
    const { machine } = process
    return Effect.callback((resume) => {
      const reply = (answer: Effect.Effect<A, unknown>) => {
        if (world.chance(weather.replyLost)) return
        world.after(world.between(0, 4), () => {
          if (machine.connected) machine.deliver(() => resume(answer))
        })
      }
      // A message may come long after its sender gave up.
      const way = world.chance(weather.late) ? world.between(4_000, 9_000) : world.between(0, 4)
      const lost = world.chance(weather.requestLost)
      world.after(way, () => {
        if (lost || !machine.connected) return
        if (world.now < this.downUntil) return reply(Effect.fail(new Error("connection refused")))
        if (world.chance(weather.deadlock)) return reply(Effect.fail(new Error("deadlock detected")))
        reply(this.apply(`${process.name} ${name}`, apply))
      })
    })
  }

  private apply<A>(what: string, apply: () => A): Effect.Effect<A, unknown> {
    try {
      const answer = apply()
      this.note(`${this.world.elapsed} ${what}`)
      return Effect.succeed(answer)
    } catch (error) {
      this.note(`${this.world.elapsed} ${what} ${String(error)}`)
      return Effect.fail(error)
    }
  }

  private checked<A>(apply: () => A): () => A {
    return () => {
      const answer = apply()
      for (const violation of this.book.violations()) this.violate(violation)
      return answer
    }
  }

  violate(what: string): void {
    if (this.violations.length < 5) this.violations.push(`${what} (at ${this.world.elapsed} ms)`)
  }

  private bookFor(process: Process): LedgerBook {
    const { book } = this
    const send = <A>(name: string, apply: () => A) => this.call(process, name, apply)
    return {
      id: Effect.succeed("book"),
      register: (host, name) => send("register", () => book.register(host, name)),
      commit: (node, number, payload) => {
        // The batch as it stands when it is sent: nothing may change it afterwards.
        const text = JSON.stringify(payload)
        return send(
          `commit ${number} ${text.length}`,
          this.checked(() => book.commit(node, number, JSON.parse(text)))
        )
      },
      takeOver: (node, rows) =>
        send(
          `takes over ${node}`,
          this.checked(() => {
            if (book.stateOf(node) === "live") this.expose(node)
            book.takeOver(node, rows)
          })
        ),
      quarantine: (_node, row) => send("quarantine", () => book.quarantine(row)),
      liveNodes: (host) => send("live", () => book.liveNodes(host)),
      silentNodes: (ms) => send("silent", () => book.silentNodes(ms))
    }
  }

  private expose(node: string): void {
    for (const { held, process, rid, stage } of this.requests) {
      const isOpen = (stage === "held" || stage === "ending" || stage === "seen") && !this.book.hasEnded(rid)
      if (isOpen && process.machine.alive && process.node() === node) this.exposed += held
    }
  }

  private journalsFor(process: Process): Journals {
    const disk = this.disks.get(process.host) ?? new Map()
    this.disks.set(process.host, disk)
    const { machine } = process
    const { weather, world } = this
    return {
      open: (_book, node) =>
        Effect.sync(() => {
          const file = { node, process: process.name, rows: [] as SettleRow[] }
          disk.set(process.name, file)
          const append = (rows: ReadonlyArray<SettleRow>) =>
            Effect.callback<boolean>((resume) => {
              world.after(world.between(0, 10), () =>
                machine.deliver(() => {
                  if (weather.journalBreaks) for (const row of rows) this.unsecured.add(row.rid)
                  else file.rows.push(...rows)
                  resume(Effect.succeed(!weather.journalBreaks))
                })
              )
            })
          return {
            append,
            appendNow: (row) => {
              if (!weather.journalBreaks && this.mutant.journalForgets !== true) file.rows.push(row)
              return !weather.journalBreaks
            },
            written: (rids) => {
              const gone = new Set(rids)
              file.rows = file.rows.filter((row) => !gone.has(row.rid))
            }
          }
        }),
      left: () =>
        Effect.sync(() =>
          [...disk.values()]
            .filter((file) => !this.lives(file.process))
            .map((file) => ({ node: file.node, rows: [...file.rows], remove: Effect.sync(() => void disk.delete(file.process)) }))
        )
    }
  }

  private lives(name: string): boolean {
    return this.processes.some((process) => process.name === name && process.machine.alive)
  }

  start(host: string): void {
    const { mutant, world } = this
    const machine = new Machine(world)
    const process: Process = { name: `${host}${++this.names}`, host, machine, ledger: null, node: () => "0", admits: true, fiber: null }
    this.processes.push(process)
    const stopwatch = () => {
      const [wall, monotonic, up] = [machine.wall, machine.monotonic, world.now]
      if (mutant.noDeadline === true) return () => 0
      if (mutant.monotonicOnly === true) return () => machine.monotonic - monotonic
      return () => Math.max(machine.wall - wall, machine.monotonic - monotonic, world.now - up)
    }
    const made = makeCommitter(this.bookFor(process), {
      incarnation: { host, process: process.name, isGone: (name) => !this.lives(name) },
      journals: this.journalsFor(process),
      stopwatch,
      leaseTtlMs: TTL,
      heartbeatMs: HEARTBEAT,
      reclaimAfterMs: mutant.reclaimAtTtl === true ? TTL * 0.4 : RECLAIM_AFTER,
      settleWaitMs: 500,
      idleReturnMs: 1_000,
      journalFirstMs: this.weather.journalFirst ? 50 : 0,
      isAlone: this.weather.journalFirst
    })
    // A process that cannot reach its database is started again.
    const life = Effect.scoped(
      Effect.flatMap(made, (committer) => {
        process.ledger = holds(committer)
        process.node = () => committer.nodeNumber
        return Effect.never
      })
    )
    const again: Effect.Effect<never> = Effect.catch(life, () =>
      Effect.andThen(
        Effect.sleep(300),
        Effect.suspend(() => again)
      )
    )
    process.fiber = machine.fork(again)
  }

  /** Makes one request somewhere, now. */
  request(): void {
    const { world } = this
    const process = world.pick(this.processes.filter(({ admits, ledger, machine }) => machine.alive && admits && ledger !== null))
    const account = world.pick(ACCOUNTS) ?? "some"
    if (process?.ledger == null) return
    const need = BigInt(world.between(1, 100))
    const kind = world.pick(["charge", "charge", "charge", "refund", "release"] as const) ?? "charge"
    const cost = kind === "charge" ? (need * BigInt(world.between(0, 10))) / 10n : 0n
    const poisoned = this.world.chance(0.003) && kind !== "release"
    const rid = `${poisoned ? "poison" : "r"}${this.requests.length}`
    const request: Request = { rid, account, need, kind, cost, process, stage: "asked", held: 0n }
    this.requests.push(request)
    const { ledger } = process
    process.machine.fork(
      Effect.matchEffect(ledger.hold({ accountId: account, rid, amount: Money.make(need), minimum: Money.make(need), dailyUsd: "none" }), {
        onFailure: (error) => Effect.sync(() => this.refused(request, error.reason._tag)),
        onSuccess: (held) => this.serve(request, held, ledger)
      })
    )
  }

  private refused(request: Request, why: string): void {
    request.stage = "refused"
    if (why !== "InsufficientCredits") return
    const account = this.book.accountOf(request.account)
    if (account === undefined) return
    let available = account.allowance + account.purchased
    for (const other of this.requests) {
      if (other.account === request.account && (other.stage === "held" || other.stage === "ending")) available -= other.held
    }
    if (available >= request.need) this.wrongRefusals++
  }

  private serve(request: Request, held: Hold, ledger: ReturnType<typeof holds>): Effect.Effect<void> {
    const { mutant, world } = this
    return Effect.gen({ self: this }, function* () {
      request.stage = "held"
      request.held = held.amount
      const node = request.process.node()
      if (this.book.stateOf(node) !== "live" && !this.forgot) this.violate(`I9 ${request.rid}: granted by a fenced process`)
      if (mutant.holdFreedEarly === true) yield* ledger.release(held)
      yield* Effect.sleep(world.between(0, 2_000))
      const ended = mutant.holdFreedEarly === true ? { ...held, amount: Money.zero } : held
      if (request.kind === "release") {
        request.stage = "released"
        return mutant.holdFreedEarly === true ? undefined : yield* ledger.release(held)
      }
      request.stage = mutant.endBeforeCommit === true ? "seen" : "ending"
      const common = { model: "org/model", provider: "p" }
      yield* ledger.settle(
        ended,
        request.kind === "charge"
          ? { _tag: "Charge", ...common, cost: Money.make(request.cost), pricing, usage: none }
          : { _tag: "Refund", ...common, why: "test" }
      )
      request.stage = "seen"
    })
  }

  /** Something goes wrong, at some moment of the active time. */
  fault(): void {
    const { world } = this
    const process = world.pick(this.processes.filter(({ machine }) => machine.alive))
    if (process === undefined) return
    const { machine } = process
    const long = world.chance(0.3)
    const time = long ? world.between(RECLAIM_AFTER + 1_000, RECLAIM_AFTER + 3_000) : world.between(100, 6_000)
    const faults: ReadonlyArray<readonly [string, () => void]> = [
      ["crash", () => this.crash(process, world.chance(0.7))],
      ["crash", () => this.crash(process, true)],
      ["stop", () => this.halt(machine, time, false)],
      ["sleep", () => this.halt(machine, time, true)],
      ["cut", () => this.cut(machine, time)],
      ["clock", () => machine.setClock(world.between(-3_600_000, 3_600_000))],
      ["outage", () => this.outage(world.between(200, 8_000))],
      ["failover", () => this.failover()],
      ["terminate", () => this.terminate(process)]
    ]
    const [name, run] = world.pick(faults) ?? faults[0] ?? ["", () => {}]
    this.note(`${world.elapsed} ${name} ${process.name}`)
    run()
  }

  private crash(process: Process, restarts: boolean): void {
    process.machine.alive = false
    if (restarts || this.processes.filter(({ machine }) => machine.alive).length === 0) {
      this.world.after(this.world.between(100, 3_000), () => this.start(process.host))
    }
  }

  private halt(machine: Machine, time: number, slept: boolean): void {
    machine.stop()
    this.world.after(time, () => machine.goOn(slept))
  }

  private cut(machine: Machine, time: number): void {
    machine.connected = false
    this.world.after(time, () => {
      machine.connected = true
    })
  }

  private outage(time: number): void {
    this.downUntil = Math.max(this.downUntil, this.world.now + time)
  }

  /** The database goes on from a copy that is a little behind. */
  private failover(): void {
    const old = this.book.snapshot()
    this.world.after(this.world.between(50, 2_000), () => {
      this.forgot = true
      this.book.restore(old)
    })
  }

  private terminate(process: Process): void {
    process.admits = false
    const { machine } = process
    this.world.after(2_500, () => {
      process.fiber?.interruptUnsafe()
      const { isStopped, pauses } = machine
      this.world.after(11_000, () => {
        const wentOn = machine.alive && !isStopped && machine.pauses === pauses
        if (wentOn && process.fiber?.pollUnsafe() === undefined) this.violate(`${process.name} was told to end and goes on`)
        machine.alive = false
      })
    })
    this.start(process.host)
  }

  private mend(): void {
    Object.assign(this.weather, { requestLost: 0, replyLost: 0, late: 0, deadlock: 0 })
    if (!this.processes.some(({ admits, machine }) => machine.alive && admits)) this.start("a")
  }

  /** What must hold when everything is mended and quiet. */
  judge(): void {
    const { book } = this
    for (const violation of book.violations()) this.violate(violation)
    for (const account of ACCOUNTS) {
      const leased = book.accountOf(account)?.leased ?? 0n
      if (leased !== 0n) this.violate(`I7 ${account}: ${leased} leased for ever`)
    }
    let shortfall = 0n
    for (const entry of book.entries) shortfall += entry.shortfall
    if (!this.forgot && shortfall > this.exposed) this.violate(`I8 short by ${shortfall}, exposed ${this.exposed}`)
    const entries = new Map(book.entries.filter((entry) => entry.rid !== null).map((entry) => [entry.rid, entry]))
    for (const request of this.requests) this.judgeRequest(request, entries.get(request.rid))
  }

  private judgeRequest(request: Request, entry: { readonly kind: string; readonly cost: bigint } | undefined): void {
    const { cost, kind, process, rid, stage } = request
    if (entry !== undefined) {
      if (entry.kind !== kind || entry.cost !== cost) this.violate(`I5 ${rid}: ${entry.kind} of ${entry.cost}, not ${kind} of ${cost}`)
      if (stage !== "ending" && stage !== "seen") this.violate(`I6 ${rid}: ${stage}, and yet charged`)
      return
    }
    // Kept nowhere but in memory that is gone, or in the journal of a host that is.
    const hostGone = !this.processes.some(({ host, machine }) => host === process.host && machine.alive)
    const excused = this.forgot || rid.startsWith("poison") || (!process.machine.alive && (hostGone || this.unsecured.has(rid)))
    if (stage === "seen" && !excused) this.violate(`I5 ${rid}: its end was seen and it was not charged`)
    if (stage === "seen" && rid.startsWith("poison") && !this.forgot && process.machine.alive && !this.book.quarantined.includes(rid))
      this.violate(`I5 ${rid}: neither charged nor set aside`)
    if (process.machine.alive && (stage === "asked" || stage === "held" || stage === "ending")) this.violate(`${rid}: ${stage} for ever`)
  }

  run(): void {
    const { world } = this
    for (const account of ACCOUNTS) this.book.open(account)
    this.book.grant("poor", "topup", 0n, BigInt(world.between(50, 500)))
    this.book.grant("some", "allowance", BigInt(world.between(0, 1_000)), BigInt(world.between(0, 2_000)))
    this.book.grant("rich", "topup", 1_000n, 1_000_000n)
    for (const host of ["a", "b", "c"].slice(0, this.weather.journalFirst ? 1 : world.between(1, 3))) this.start(host)
    const count = world.between(20, 50)
    for (let i = 0; i < count; i++) world.after(world.between(200, ACTIVE), () => this.request())
    const faults = world.between(0, 4)
    for (let i = 0; i < faults; i++) world.after(world.between(500, ACTIVE), () => this.fault())
    world.after(MENDED, () => this.mend())
    world.runUntil(world.now + END)
    this.judge()
  }
}

/** Plays the history of a seed to its end; a listener hears all that happens. */
export const simulate = (seed: number, mutant: Mutant = {}, listener?: (what: string) => void): Verdict => {
  const history = new History(seed, mutant, listener)
  history.run()
  return {
    seed,
    violations: history.violations,
    trace: history.digest,
    requests: history.requests.length,
    served: history.requests.filter(({ stage }) => stage === "seen").length,
    wrongRefusals: history.wrongRefusals
  }
}
