/**
 * The command that looks at everything a server needs.
 *
 * @since 0.1.0
 */
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { NotAllWell } from "./CatalogCommands.ts"
import { printJson } from "./Printing.ts"
import { json } from "./ServerFlags.ts"

/** One thing that was looked at. @category models @since 0.1.0 */
export interface Diagnosis {
  readonly check: string
  readonly status: "ok" | "warning" | "failed"
  readonly detail: string
  /** What to do; null where nothing is to be done. */
  readonly fix: string | null
}

const marks = { ok: "ok     ", warning: "WARNING", failed: "FAILED " } as const

/** `sluice doctor`. @category constructors @since 0.1.0 */
export const doctor = <E, R>(diagnose: Effect.Effect<ReadonlyArray<Diagnosis>, E, R>) =>
  Command.make("doctor", { json }, (flags) =>
    Effect.gen(function* () {
      const found = yield* diagnose
      const failed = found.filter(({ status }) => status === "failed")
      if (flags.json) yield* printJson({ ok: failed.length === 0, checks: found })
      else {
        for (const { check, detail, fix, status } of found) {
          yield* Console.log(`${marks[status]} ${check}: ${detail}${fix === null ? "" : `\n          ${fix}`}`)
        }
      }
      if (failed.length > 0) return yield* new NotAllWell({ message: `${failed.map(({ check }) => check).join(", ")} failed` })
    })
  ).pipe(
    Command.withDescription(
      "Look at settings, data directory, disk, database, migrations, clock, Redis, port and providers; says what to do, and exits with 1 when anything fails"
    ),
    Command.withExamples([
      { command: "sluice doctor", description: "Before the first start, or when something is wrong" },
      { command: "sluice doctor --json", description: "For machines" }
    ])
  )
