/**
 * The ledger's database in memory: what `ledger_commit` and its like do, step by step. A test holds it against the real one.
 */
import type { BatchPayload, LeaseTotals, NodeRow, SettleRow } from "../../src/ledger/LedgerBook.ts"

export interface Account {
  allowance: bigint
  purchased: bigint
  leased: bigint
  recallUntil: number
  spent: bigint
}

export interface Node {
  readonly host: string
  readonly process: string
  state: "live" | "dead"
  heartbeatAt: number
  lastBatch: number
}

export interface LeaseRow {
  granted: bigint
  returned: bigint
  settled: bigint
}

export interface Entry {
  readonly account: string
  readonly kind: string
  readonly rid: string | null
  readonly allowance: bigint
  readonly purchased: bigint
  readonly cost: bigint
  readonly shortfall: bigint
  readonly node: string | null
}

/** Errors of the database's own making; `code` is its SQLSTATE. */
export class BookError extends Error {
  readonly code: string
  constructor(message: string, code = "P0001") {
    super(message)
    this.code = code
  }
}

/** What a book may be made to do wrong, so that the simulation shows that it would notice. */
export interface Mutations {
  readonly noFence?: boolean
  readonly noBatchNumber?: boolean
  readonly noUniqueRid?: boolean
  readonly unboundedLateCharge?: boolean
}

interface State {
  readonly accounts: Map<string, Account>
  readonly nodes: Map<string, Node>
  readonly leases: Map<string, Map<string, LeaseRow>>
  readonly entries: Array<Entry>
  readonly ended: Set<string>
  readonly quarantined: Array<string>
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const most = (a: bigint, b: bigint): bigint => (a > b ? a : b)
const open = (lease: LeaseRow | undefined): bigint => (lease === undefined ? 0n : lease.granted - lease.returned - lease.settled)

const copy = (state: State): State => ({
  accounts: new Map([...state.accounts].map(([id, account]) => [id, { ...account }])),
  nodes: new Map([...state.nodes].map(([id, node]) => [id, { ...node }])),
  leases: new Map([...state.leases].map(([id, leases]) => [id, new Map([...leases].map(([node, lease]) => [node, { ...lease }]))])),
  entries: [...state.entries],
  ended: new Set(state.ended),
  quarantined: [...state.quarantined]
})

export class SimulatedBook {
  private state: State = {
    accounts: new Map(),
    nodes: new Map(),
    leases: new Map(),
    entries: [],
    ended: new Set(),
    quarantined: []
  }
  private nodeIds = 0
  private readonly now: () => number
  private readonly mutations: Mutations

  constructor(now: () => number, mutations: Mutations = {}) {
    this.now = now
    this.mutations = mutations
  }

  snapshot(): State {
    return copy(this.state)
  }

  /** The database forgets what came after a snapshot; numbers that it gave out stay given out. */
  restore(state: State): void {
    this.state = copy(state)
  }

  get entries(): ReadonlyArray<Entry> {
    return this.state.entries
  }

  get quarantined(): ReadonlyArray<string> {
    return this.state.quarantined
  }

  accountOf(id: string): Account | undefined {
    return this.state.accounts.get(id)
  }

  stateOf(node: string): "live" | "dead" | undefined {
    return this.state.nodes.get(node)?.state
  }

  hasEnded(rid: string): boolean {
    return this.state.ended.has(rid)
  }

  leaseOf(account: string, node: string): bigint {
    return open(this.state.leases.get(account)?.get(node))
  }

  open(id: string): void {
    if (!this.state.accounts.has(id)) {
      this.state.accounts.set(id, { allowance: 0n, purchased: 0n, leased: 0n, recallUntil: 0, spent: 0n })
      this.state.leases.set(id, new Map())
    }
  }

  grant(id: string, kind: string, allowance: bigint, purchased: bigint): void {
    const account = this.state.accounts.get(id)
    if (account === undefined) throw new BookError("ledger: no account")
    if (
      account.allowance + allowance < 0n ||
      account.purchased + purchased < 0n ||
      account.allowance + account.purchased + allowance + purchased < account.leased
    )
      throw new BookError("ledger: insufficient")
    account.allowance += allowance
    account.purchased += purchased
    this.state.entries.push({ account: id, kind, rid: null, allowance, purchased, cost: 0n, shortfall: 0n, node: null })
  }

  register(host: string, process: string): string {
    const id = String(++this.nodeIds)
    this.state.nodes.set(id, { host, process, state: "live", heartbeatAt: this.now(), lastBatch: 0 })
    return id
  }

  liveNodes(host: string): ReadonlyArray<NodeRow> {
    return [...this.state.nodes].flatMap(([id, node]) =>
      node.host === host && node.state === "live" ? [{ id, process: node.process }] : []
    )
  }

  silentNodes(ms: number): ReadonlyArray<NodeRow> {
    return [...this.state.nodes].flatMap(([id, node]) =>
      node.state === "live" && node.heartbeatAt < this.now() - ms ? [{ id, process: node.process }] : []
    )
  }

  quarantine(row: SettleRow): void {
    this.state.quarantined.push(row.rid)
  }

  /** One transaction: all of it, or an error and nothing. */
  commit(nodeId: string, batch: number, payload: BatchPayload): ReadonlyArray<LeaseTotals> {
    const node = this.state.nodes.get(nodeId)
    if (node === undefined || (node.state !== "live" && this.mutations.noFence !== true)) throw new BookError("ledger: fenced")
    if (node.lastBatch < batch - 1) throw new BookError("ledger: regressed")
    const named = new Set([...payload.settles, ...payload.returns, ...payload.wants].map((row) => row.account))
    const direct = new Set<string>()
    if (node.lastBatch < batch || this.mutations.noBatchNumber === true) {
      this.settle(nodeId, payload.settles)
      node.lastBatch = batch
      node.heartbeatAt = this.now()
      for (const row of payload.returns) this.giveBack(row.account, nodeId, BigInt(row.amount))
      for (const row of [...payload.wants].sort((a, b) => (a.account < b.account ? -1 : 1))) this.want(row, nodeId, direct)
    }
    return [...named].flatMap((id) => this.totals(id, nodeId, direct.has(id)))
  }

  takeOver(nodeId: string, rows: ReadonlyArray<SettleRow>): void {
    const node = this.state.nodes.get(nodeId)
    if (node !== undefined) node.state = "dead"
    this.settle(nodeId, rows)
    for (const account of this.state.accounts.keys()) this.giveBack(account, nodeId, this.leaseOf(account, nodeId))
  }

  /** What breaks I1 to I4 at this moment. */
  violations(): ReadonlyArray<string> {
    const found: Array<string> = []
    const sums = new Map<string, { allowance: bigint; purchased: bigint }>()
    const ends = new Map<string, number>()
    for (const entry of this.state.entries) {
      const sum = sums.get(entry.account) ?? { allowance: 0n, purchased: 0n }
      sums.set(entry.account, { allowance: sum.allowance + entry.allowance, purchased: sum.purchased + entry.purchased })
      if (entry.rid !== null) ends.set(entry.rid, (ends.get(entry.rid) ?? 0) + 1)
    }
    for (const [id, account] of this.state.accounts) {
      const { allowance, leased, purchased } = account
      if (allowance < 0n || purchased < 0n || leased < 0n || leased > allowance + purchased)
        found.push(`I1 ${id}: ${allowance} + ${purchased}, leased ${leased}`)
      let leases = 0n
      for (const lease of this.state.leases.get(id)?.values() ?? []) {
        if (open(lease) < 0n) found.push(`I2 ${id}: a lease of ${open(lease)}`)
        leases += open(lease)
      }
      if (leases !== leased) found.push(`I2 ${id}: leased ${leased}, leases ${leases}`)
      const sum = sums.get(id) ?? { allowance: 0n, purchased: 0n }
      if (sum.allowance !== allowance || sum.purchased !== purchased)
        found.push(`I3 ${id}: balance ${allowance} + ${purchased}, entries ${sum.allowance} + ${sum.purchased}`)
    }
    for (const [rid, count] of ends) if (count > 1) found.push(`I4 ${rid} ended ${count} times`)
    return found
  }

  private totals(id: string, node: string, direct: boolean): ReadonlyArray<LeaseTotals> {
    const account = this.state.accounts.get(id)
    if (account === undefined) return []
    const lease = this.leaseOf(id, node)
    const { allowance, leased, purchased, spent } = account
    const recall = account.recallUntil > this.now()
    return [
      {
        account: id,
        lease,
        elsewhere: leased - lease,
        unleased: allowance + purchased - leased,
        direct,
        recall,
        spent,
        dayLeft: 86_400_000
      }
    ]
  }

  private settle(node: string, rows: ReadonlyArray<SettleRow>): void {
    for (const row of rows) {
      // Stands for any value that the database refuses.
      if (row.rid.startsWith("poison")) throw new BookError("unsupported Unicode escape sequence", "22P05")
      if (!this.state.accounts.has(row.account)) throw new BookError(`ledger: no account ${row.account}`, "23503")
    }
    const byAccount = new Map<string, Array<SettleRow>>()
    const seen = new Set<string>()
    for (const row of rows) {
      const known = seen.has(row.rid) || this.state.ended.has(row.rid)
      if (known && this.mutations.noUniqueRid !== true) continue
      seen.add(row.rid)
      byAccount.set(row.account, [...(byAccount.get(row.account) ?? []), row])
    }
    for (const [id, settles] of byAccount) this.settleAccount(id, node, settles)
  }

  private settleAccount(id: string, node: string, settles: ReadonlyArray<SettleRow>): void {
    const account = this.state.accounts.get(id)
    if (account === undefined) return
    const lease = this.state.leases.get(id)?.get(node)
    let leaseLeft = open(lease)
    let unleased = account.allowance + account.purchased - account.leased
    for (const row of settles) {
      const cost = BigInt(row.cost)
      const fromLease = least(BigInt(row.fromLease), leaseLeft)
      leaseLeft -= fromLease
      const late = this.mutations.unboundedLateCharge === true ? cost - fromLease : least(cost - fromLease, unleased)
      unleased -= late
      const charge = fromLease + late
      const allowance = least(charge, account.allowance)
      account.allowance -= allowance
      account.purchased -= charge - allowance
      account.leased -= fromLease
      account.spent += charge
      if (lease !== undefined) lease.settled += fromLease
      this.state.ended.add(row.rid)
      this.state.entries.push({
        account: id,
        kind: row.kind,
        rid: row.rid,
        allowance: -allowance,
        purchased: -(charge - allowance),
        cost,
        shortfall: cost - charge,
        node
      })
    }
  }

  private giveBack(id: string, node: string, amount: bigint): void {
    const account = this.state.accounts.get(id)
    const lease = this.state.leases.get(id)?.get(node)
    if (account === undefined || lease === undefined) return
    const given = least(amount, open(lease))
    lease.returned += given
    account.leased -= given
  }

  private want(row: BatchPayload["wants"][number], node: string, direct: Set<string>): void {
    const account = this.state.accounts.get(row.account)
    if (account === undefined) return
    const wanted = { least: BigInt(row.least), most: BigInt(row.most), target: BigInt(row.target) }
    const available = account.allowance + account.purchased - account.leased
    if (available <= 0n || available < wanted.least) {
      account.recallUntil = this.now() + 1_000
      return
    }
    const live = [...this.state.nodes.values()].filter((each) => each.state === "live").length
    const small = available < 50n * wanted.most
    if (small) direct.add(row.account)
    const granted = small
      ? least(available, wanted.most)
      : least(available, most(wanted.most, least(wanted.target, available / BigInt(2 * Math.max(live, 1)))))
    const leases = this.state.leases.get(row.account)
    const lease = leases?.get(node) ?? { granted: 0n, returned: 0n, settled: 0n }
    lease.granted += granted
    leases?.set(node, lease)
    account.leased += granted
  }
}
