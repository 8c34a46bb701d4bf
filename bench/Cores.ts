/**
 * Who runs on which core: with two, the server has one to itself and everybody else shares the other.
 */
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"

/** The cores that this process may use. */
const cores: ReadonlyArray<number> = (/Cpus_allowed_list:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0")
  .split(",")
  .flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })

const canPin = cores.length > 1 && spawnSync("taskset", ["--version"]).status === 0

/** A set of cores; null leaves it to the system. */
export type Cores = ReadonlyArray<number> | null

export const otherCores: Cores = cores.slice(0, 1)
export const serverCores: Cores = cores.slice(1, 2)

/** What stands before a command that is to run there. */
export const pinned = (wanted: Cores): ReadonlyArray<string> => (canPin && wanted !== null ? ["taskset", "-c", wanted.join(",")] : [])

/** Moves a running server with its threads and children; what it starts later comes along. */
export const move = (pid: number, wanted: Cores): void => {
  if (!canPin || wanted === null) return
  spawnSync("taskset", ["-acp", wanted.join(","), String(pid)])
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").map(Number)
    for (const child of children) if (child > 0) move(child, wanted)
  }
}

/** How one worker and two are given what they need, so that their ratio means something. */
export interface Proportion {
  readonly what: string
  readonly one: { readonly server: Cores; readonly others: Cores }
  readonly two: { readonly server: Cores; readonly others: Cores }
}

/** Null: the machine has too little for an answer. */
export const proportion = (): Proportion | null => {
  if (!canPin) return null
  const [a = 0, b = 0, c = 0, d = 0] = cores
  if (cores.length < 4) {
    const [half, whole] = [
      { server: [b], others: [b] },
      { server: [a, b], others: [a, b] }
    ]
    const what = `two workers on two cores over one on one core; ${cores.length} cores here, so everybody else is on the same, in proportion`
    return { what, one: half, two: whole }
  }
  const elsewhere = [a, b]
  return {
    what: "two workers over one, a core for each; everybody else on two others",
    one: { server: [c], others: elsewhere },
    two: { server: [c, d], others: elsewhere }
  }
}
