#!/usr/bin/env node
/**
 * The `sluice` command. Nothing imports this file.
 *
 * @since 0.1.0
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit } from "effect"
import { Command } from "effect/cli"
import * as BookDesk from "../layers/BookDesk.ts"
import * as ConfigDesk from "../layers/ConfigDesk.ts"
import { VERSION } from "../layers/House.ts"
import * as PeopleDesk from "../layers/PeopleDesk.ts"
import * as Server from "../layers/Server.ts"
import * as Sluice from "./cli/Sluice.ts"

/** What went wrong before there was a server, as one message. */
const explain = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  return Console.error(`sluice: ${message}`)
}

const program = Sluice.make({ serve: Server.serve, book: BookDesk.desk, people: PeopleDesk.desk, config: ConfigDesk.desk }).pipe(
  Command.run({ version: VERSION }),
  Effect.tapCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : explain(cause))),
  Effect.provide(NodeServices.layer)
)

NodeRuntime.runMain(program, {
  disableErrorReporting: true,
  // A stop that was asked for is a good end.
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
})
