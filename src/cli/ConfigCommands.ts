/**
 * The commands about settings: checked, shown, described, taken over from elsewhere.
 *
 * @since 0.1.0
 */
import { Console, Effect, FileSystem, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { printJson, table } from "./Printing.ts"
import { json } from "./ServerFlags.ts"

/** One setting as it holds. @category models @since 0.1.0 */
export interface ShownSetting {
  readonly name: string
  /** Null: not set; a secret is never shown. */
  readonly value: string | null
  readonly from: string
}

/** @category models @since 0.1.0 */
export interface CheckedConfig {
  /** Null: there is no file. */
  readonly file: string | null
  readonly mode: "embedded" | "service"
  /** Providers that are switched on. */
  readonly providers: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

/** A configuration taken over from elsewhere. @category models @since 0.1.0 */
export interface ImportedConfig {
  readonly yaml: string
  /** What could not be taken over, and why. */
  readonly notes: ReadonlyArray<string>
}

/** @category models @since 0.1.0 */
export interface ConfigDesk<E, R> {
  readonly check: Effect.Effect<CheckedConfig, E, R>
  readonly show: Effect.Effect<ReadonlyArray<ShownSetting>, E, R>
  readonly schema: Effect.Effect<Readonly<Record<string, unknown>>, E, R>
  /** Reads a LiteLLM configuration. */
  readonly importFrom: (path: string) => Effect.Effect<ImportedConfig, E, R>
}

const check = <E, R>(desk: ConfigDesk<E, R>) =>
  Command.make("check", { json }, (flags) =>
    Effect.gen(function* () {
      const checked = yield* desk.check
      if (flags.json) return yield* printJson({ ok: true, ...checked })
      const { file, mode, providers, warnings } = checked
      yield* Console.log(
        `${file === null ? "The environment" : `${file} and the environment`} can be used: ${mode} mode, ${providers.length === 0 ? "no provider but the sandbox" : `providers ${providers.join(", ")}`}.`
      )
      for (const warning of warnings) yield* Console.log(`Warning: ${warning}`)
    })
  ).pipe(
    Command.withDescription(
      "Read every setting as `sluice serve` would, and start nothing; exits with 1 and the first that cannot be used"
    ),
    Command.withExamples([
      { command: "sluice config check", description: "./sluice.yaml, if there is one, and the environment" },
      { command: "SLUICE_CONFIG=/etc/sluice.yaml sluice config check --json", description: "Another file, for machines" }
    ])
  )

const show = <E, R>(desk: ConfigDesk<E, R>) =>
  Command.make(
    "show",
    { json, all: Flag.Boolean("all").pipe(Flag.withDescription("Also what has its default"), Flag.withDefault(false)) },
    (flags) =>
      Effect.gen(function* () {
        const rows = (yield* desk.show).filter(({ from }) => flags.all || flags.json || from !== "default")
        if (flags.json) return yield* printJson({ data: rows })
        if (rows.length === 0) return yield* Console.log("Every setting has its default; --all shows them.")
        yield* Console.log(table([["SETTING", "VALUE", "FROM"], ...rows.map(({ from, name, value }) => [name, value ?? "", from])]))
      })
  ).pipe(
    Command.withDescription("The settings as they hold, and where each comes from; secrets are not shown"),
    Command.withExamples([{ command: "sluice config show --all", description: "With the defaults" }])
  )

const schema = <E, R>(desk: ConfigDesk<E, R>) =>
  Command.make("schema", {}, () => Effect.flatMap(desk.schema, printJson)).pipe(
    Command.withDescription(
      "The JSON Schema of sluice.yaml, with every setting, what it takes and its default; editors complete and check by it"
    ),
    Command.withExamples([
      {
        command: "sluice config schema > sluice.schema.json",
        description: "Then begin sluice.yaml with: # yaml-language-server: $schema=sluice.schema.json"
      }
    ])
  )

const importFrom = <E, R>(desk: ConfigDesk<E, R>) =>
  Command.make(
    "import",
    {
      file: Argument.String("file").pipe(Argument.withDescription("A LiteLLM config.yaml")),
      out: Flag.String("out").pipe(Flag.withDescription("Write to this file instead of the standard output"), Flag.optional)
    },
    ({ file, out }) =>
      Effect.gen(function* () {
        const { notes, yaml } = yield* desk.importFrom(file)
        const path = Option.getOrNull(out)
        if (path === null) yield* Console.log(yaml.trimEnd())
        else {
          yield* (yield* FileSystem.FileSystem).writeFileString(path, yaml, { mode: 0o600, flag: "wx" })
          yield* Console.log(`Written to ${path}. Check it: SLUICE_CONFIG=${path} sluice config check`)
        }
        for (const note of notes) yield* Console.error(`Not taken over: ${note}`)
      })
  ).pipe(
    Command.withDescription("Make a sluice.yaml of a LiteLLM proxy's config.yaml; says what it could not take over"),
    Command.withExamples([{ command: "sluice config import litellm.yaml --out sluice.yaml", description: "Never overwrites a file" }])
  )

/** `sluice config …`. @category constructors @since 0.1.0 */
export const config = <E, R>(desk: ConfigDesk<E, R>) =>
  Command.make("config").pipe(
    Command.withDescription("Settings: check, show, describe, take over from LiteLLM"),
    Command.withSubcommands([check(desk), show(desk), schema(desk), importFrom(desk)])
  )
