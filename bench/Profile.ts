/**
 * What a running server spends its time and its memory on, asked through Node's inspector.
 */
import { writeFileSync } from "node:fs"
import { table } from "../src/cli/Printing.ts"

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

interface CpuProfile {
  readonly nodes: ReadonlyArray<{ readonly id: number; readonly callFrame: Frame }>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

interface HeapNode {
  readonly callFrame: Frame
  readonly selfSize: number
  readonly children: ReadonlyArray<HeapNode>
}

export type Kind = "cpu" | "allocation"

export interface Profiler {
  /** From now on; `finish` writes a file of this name and tells the most expensive functions. */
  readonly start: (kind: Kind) => Promise<{ readonly finish: (name: string) => Promise<string> }>
  readonly close: () => void
}

const MOST_FUNCTIONS = 15
/** Bytes between two samples of what is allocated. */
const SAMPLING_INTERVAL = 16_384

const nameOf = ({ functionName, lineNumber, url }: Frame): string =>
  `${functionName === "" ? "(anonymous)" : functionName} ${url.split("/").at(-1) ?? ""}${url === "" ? "" : `:${lineNumber + 1}`}`

/** The functions with the greatest part of their own. */
const most = (title: string, own: ReadonlyMap<string, number>): string => {
  const total = [...own.values()].reduce((sum, value) => sum + value, 0)
  const sorted = [...own].sort(([, a], [, b]) => b - a).slice(0, MOST_FUNCTIONS)
  return table([[title, ""], ...sorted.map(([name, value]) => [`${((value / total) * 100).toFixed(1)} %`, name])])
}

const ownTimes = ({ nodes, samples, timeDeltas }: CpuProfile): ReadonlyMap<string, number> => {
  const names = new Map(nodes.map(({ callFrame, id }) => [id, nameOf(callFrame)]))
  const own = new Map<string, number>()
  for (const [at, id] of samples.entries()) {
    const name = names.get(id) ?? ""
    own.set(name, (own.get(name) ?? 0) + (timeDeltas[at] ?? 0))
  }
  return own
}

const ownSizes = (head: HeapNode): ReadonlyMap<string, number> => {
  const own = new Map<string, number>()
  const visit = ({ callFrame, children, selfSize }: HeapNode): void => {
    own.set(nameOf(callFrame), (own.get(nameOf(callFrame)) ?? 0) + selfSize)
    for (const child of children) visit(child)
  }
  visit(head)
  return own
}

/** Asks the process whose inspector listens on a port. */
const connect = async (port: number) => {
  const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()
  const socket = new WebSocket(String(Object(Array.isArray(targets) ? targets[0] : null)["webSocketDebuggerUrl"]))
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve)
    socket.addEventListener("error", () => reject(new Error(`no inspector on port ${port}`)))
  })
  const waiting = new Map<number, (result: Record<string, unknown>) => void>()
  socket.addEventListener("message", (event) => {
    const message = JSON.parse(String(event.data))
    waiting.get(message.id)?.(Object(message.result))
    waiting.delete(message.id)
  })
  let last = 0
  const ask = (method: string, params: object = {}): Promise<Record<string, unknown>> =>
    new Promise((resolve) => {
      waiting.set(++last, resolve)
      socket.send(JSON.stringify({ id: last, method, params }))
    })
  return { ask, close: () => socket.close() }
}

/** A profiler of the process whose inspector listens on a port. */
export const profileOf = async (port: number): Promise<Profiler> => {
  const { ask, close } = await connect(port)
  /** Text of the result's profile, both to be kept and to be read. */
  const stop = async (method: string): Promise<string> => JSON.stringify((await ask(method))["profile"])
  const cpu = async () => {
    await ask("Profiler.enable")
    await ask("Profiler.start")
    return async (name: string) => {
      const text = await stop("Profiler.stop")
      writeFileSync(`${name}.cpuprofile`, text)
      return most(`time of their own, ${name}.cpuprofile`, ownTimes(JSON.parse(text)))
    }
  }
  const allocation = async () => {
    const collected = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true }
    await ask("HeapProfiler.startSampling", { samplingInterval: SAMPLING_INTERVAL, ...collected })
    return async (name: string) => {
      const text = await stop("HeapProfiler.stopSampling")
      writeFileSync(`${name}.heapprofile`, text)
      return most(`allocated by, ${name}.heapprofile`, ownSizes(JSON.parse(text).head))
    }
  }
  return { start: async (kind) => ({ finish: await (kind === "cpu" ? cpu() : allocation()) }), close }
}
