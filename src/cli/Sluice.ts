/**
 * The `sluice` command. What each command does is given by the caller, so that this describes it and starts nothing.
 *
 * @since 0.1.0
 */
import type { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as BookCommands from "./BookCommands.ts"
import * as ConfigCommands from "./ConfigCommands.ts"
import * as PeopleCommands from "./PeopleCommands.ts"

/** What may be said of the server on the command line. @category models @since 0.1.0 */
export interface ServeFlags {
  readonly workers: Option.Option<string>
}

/** The work behind the commands. @category models @since 0.1.0 */
export interface Commands<E, R> {
  /** Runs the server until it is stopped. */
  readonly serve: (flags: ServeFlags) => Effect.Effect<void, E, R>
  readonly book: BookCommands.BookDesk<E, R>
  readonly people: PeopleCommands.PeopleDesk<E, R>
  readonly config: ConfigCommands.ConfigDesk<E, R>
}

const workers = Flag.String("workers").pipe(
  Flag.withDescription("Processes that serve together on the port: a number, or auto for one on each core (WORKERS); needs DATABASE_URL"),
  Flag.optional
)

/** @category constructors @since 0.1.0 */
export const make = <E, R>(commands: Commands<E, R>) =>
  Command.make("sluice").pipe(
    Command.withDescription("An AI inference gateway: one key, every model, one bill."),
    Command.withSubcommands([
      Command.make("serve", { workers }, commands.serve).pipe(
        Command.withDescription(
          "Run the server. Settings come from the environment (PORT, HOST, DATABASE_URL, REDIS_URL, DATA_DIR, <PROVIDER>_API_KEY and more) and from ./sluice.yaml, or the file that SLUICE_CONFIG names; `sluice config schema` describes them all."
        ),
        Command.withExamples([
          { command: "sluice serve", description: "Embedded mode: everything in this process, data under ./data" },
          { command: "PORT=0 sluice serve", description: "A free port, named at start" },
          { command: "DATABASE_URL=postgres://… sluice serve --workers auto", description: "A process on each core" }
        ])
      ),
      PeopleCommands.users(commands.people),
      PeopleCommands.keys(commands.people),
      BookCommands.credits(commands.book),
      BookCommands.ledger(commands.book),
      ConfigCommands.config(commands.config)
    ])
  )
