/**
 * What all workers of a server have counted, those that are gone among them: a sum that never falls.
 *
 * @since 0.1.0
 */
import { type MetricsPart, merge } from "../src/replicas/MergedMetrics.ts"

/** How long one worker is waited for, in milliseconds; what it said last stands for what it does not say. */
const PATIENCE = 1_000

interface Round {
  readonly awaited: Set<string>
  readonly done: () => void
}

/** @category models @since 0.1.0 */
export class WorkerCounts {
  /** What each worker last said. */
  private readonly said = new Map<string, string>()
  private gone = ""
  private readonly rounds = new Map<number, Round>()
  private lastRound = 0

  /** What is known of everybody, asked anew; `ask` asks one worker. */
  collect(workers: ReadonlyArray<string>, ask: (worker: string, round: number) => void): Promise<string> {
    const round = ++this.lastRound
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        if (this.rounds.delete(round)) resolve(this.sum())
      }
      const timer = setTimeout(end, PATIENCE)
      this.rounds.set(round, { awaited: new Set(workers), done: end })
      if (workers.length === 0) end()
      for (const worker of workers) ask(worker, round)
    })
  }

  heard(worker: string, text: string, round: number | null = null): void {
    this.said.set(worker, text)
    if (round === null) return
    const asked = this.rounds.get(round)
    if (asked?.awaited.delete(worker) === true && asked.awaited.size === 0) asked.done()
  }

  /** A worker that is gone: what it last said still counts, and nobody waits for it. */
  left(worker: string): void {
    const text = this.said.get(worker)
    this.said.delete(worker)
    if (text !== undefined) {
      this.gone = merge([
        { worker: null, text: this.gone },
        { worker: null, text }
      ])
    }
    for (const round of [...this.rounds.values()]) if (round.awaited.delete(worker) && round.awaited.size === 0) round.done()
  }

  private sum(): string {
    const parts: ReadonlyArray<MetricsPart> = [...this.said].map(([worker, text]) => ({ worker, text }))
    return merge([{ worker: null, text: this.gone }, ...parts])
  }
}
