/**
 * The `sluice` command. What each command does is given by the caller, so that this describes it and starts nothing.
 *
 * @since 0.1.0
 */
import { Console, type Effect, type Option } from "effect"
import { Argument, Command, Completions, Flag } from "effect/cli"
import * as BookCommands from "./BookCommands.ts"
import * as CatalogCommands from "./CatalogCommands.ts"
import * as ConfigCommands from "./ConfigCommands.ts"
import { type Diagnosis, doctor } from "./DoctorCommand.ts"
import * as PeopleCommands from "./PeopleCommands.ts"
import * as WebhookCommands from "./WebhookCommands.ts"

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
  readonly catalog: CatalogCommands.CatalogDesk<E, R>
  readonly webhooks: WebhookCommands.WebhookDesk<E, R>
  readonly diagnose: Effect.Effect<ReadonlyArray<Diagnosis>, E, R>
}

const workers = Flag.String("workers").pipe(
  Flag.withDescription("Processes that serve together on the port: a number, or auto for one on each core (WORKERS); needs DATABASE_URL"),
  Flag.optional
)

/** Completions are made of the command that they complete. */
const completions = (command: () => Command.Command.Any) =>
  Command.make("completions", { shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"]) }, ({ shell }) =>
    Console.log(Completions.generate("sluice", shell, Completions.fromCommand(command())))
  ).pipe(
    Command.withDescription("A script that completes commands and flags in a shell"),
    Command.withExamples([{ command: "source <(sluice completions bash)", description: "In this shell; or into its start-up file" }])
  )

/** @category constructors @since 0.1.0 */
export const make = <E, R>(commands: Commands<E, R>) => {
  const root = Command.make("sluice").pipe(
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
      CatalogCommands.models(commands.catalog),
      CatalogCommands.providers(commands.catalog),
      WebhookCommands.webhooks(commands.webhooks),
      ConfigCommands.config(commands.config),
      doctor(commands.diagnose),
      completions((): Command.Command.Any => root)
    ])
  )
  return root
}
