/**
 * The commands of `sluice`, and how a program that ran one ends.
 *
 * @since 0.1.0
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit } from "effect"
import { CliError, Command } from "effect/cli"
import * as Sluice from "../src/cli/Sluice.ts"
import { VERSION } from "../src/http/ApiDescription.ts"
import * as BookDesk from "./BookDesk.ts"
import * as CatalogDesk from "./CatalogDesk.ts"
import * as ConfigDesk from "./ConfigDesk.ts"
import * as Doctor from "./Doctor.ts"
import * as PeopleDesk from "./PeopleDesk.ts"
import * as Server from "./Server.ts"
import * as WebhookDesk from "./WebhookDesk.ts"

/** Whether a command line was not understood, or asked for help without saying so; the help was printed. */
const isHelp = (cause: Cause.Cause<unknown>): boolean => CliError.isCliError(Cause.squash(cause))

/** What went wrong before there was a server, as one message. */
const explain = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  return Console.error(`sluice: ${message}`)
}

const program = Sluice.make({
  serve: Server.serve,
  book: BookDesk.desk,
  people: PeopleDesk.desk,
  config: ConfigDesk.desk,
  catalog: CatalogDesk.desk,
  webhooks: WebhookDesk.desk,
  diagnose: Doctor.diagnose
}).pipe(
  Command.run({ version: VERSION }),
  Effect.tapCause((cause) => (Cause.hasInterruptsOnly(cause) || isHelp(cause) ? Effect.void : explain(cause))),
  Effect.provide(NodeServices.layer)
)

/** Runs what the process was asked for, to the end of the process. @category running @since 0.1.0 */
export const run = (): void =>
  NodeRuntime.runMain(program, {
    disableErrorReporting: true,
    // A stop that was asked for is a good end.
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : isHelp(exit.cause) ? 2 : 1)
  })
