/**
 * How one setting is read, and refused: from the environment, else from the configuration file. Whoever reads a setting says
 * what it takes, and that is its description too: see `Noted`.
 *
 * @since 0.1.0
 */
import { Config, Context, Data, Effect, Option, Redacted } from "effect"

/** A setting that cannot be used: which, what it got and what it takes. @category errors @since 0.1.0 */
export class SettingError extends Data.TaggedError("SettingError")<{ readonly message: string }> {}

/** What is known of a setting by the way it is read. @category models @since 0.1.0 */
export interface SettingFact {
  readonly name: string
  /** `list`: several values, separated by commas where they are one text. `pairs`: `name=value`, the same. */
  readonly kind: "text" | "whole" | "choice" | "url" | "list" | "pairs"
  readonly fallback: string | number | null
  readonly isSecret?: boolean
  readonly least?: number
  readonly most?: number
  readonly options?: ReadonlyArray<string>
  /** A number may also be `off`. */
  readonly orOff?: boolean
  /** Or `auto`. */
  readonly orAuto?: boolean
}

/** Told of every setting that is read. @category references @since 0.1.0 */
export const Noted = Context.Reference<((fact: SettingFact, value: string | null, from: string | null) => void) | null>(
  "sluice/layers/Noted",
  {
    defaultValue: () => null
  }
)

/** A value of the configuration file, and where it stands there. @category models @since 0.1.0 */
export interface FileValue {
  readonly value: string
  readonly path: string
}

/** What the configuration file says, by the names of the environment. @category references @since 0.1.0 */
export const FileValues = Context.Reference<ReadonlyMap<string, FileValue>>("sluice/layers/FileValues", { defaultValue: () => new Map() })

/** What a variable of the environment says; null where it says nothing. @category readers @since 0.1.0 */
export const inEnvironment = (name: string): Effect.Effect<string | null> =>
  Effect.match(Config.option(Config.String(name)), {
    onFailure: () => null,
    // An empty variable is one that was not set.
    onSuccess: (value) => Option.getOrNull(Option.filter(value, (text) => text.trim() !== ""))
  })

/** What a setting says; null where it says nothing. @category readers @since 0.1.0 */
export const raw = Effect.fnUntraced(function* (
  name: string,
  fact: Omit<SettingFact, "name"> = { kind: "text", fallback: null }
): Effect.fn.Return<string | null, SettingError> {
  const set = yield* inEnvironment(name)
  const filed = (yield* FileValues).get(name)
  const value = set ?? filed?.value ?? null
  ;(yield* Noted)?.({ name, ...fact }, value, set === null ? (filed?.path ?? null) : "environment")
  return value
})

/** Says what a setting takes, and what it got instead. @category readers @since 0.1.0 */
export const refuse = Effect.fnUntraced(function* (name: string, got: string, takes: string): Effect.fn.Return<never, SettingError> {
  const filed = (yield* FileValues).get(name)
  const where = filed !== undefined && (yield* inEnvironment(name)) === null ? filed.path : name
  return yield* new SettingError({ message: `${where} is ${JSON.stringify(got)}, but it takes ${takes}.` })
})

/** A text. @category readers @since 0.1.0 */
export const text = (name: string, fallback: string) => Effect.map(raw(name, { kind: "text", fallback }), (value) => value ?? fallback)

/** What is never shown. @category readers @since 0.1.0 */
export const secret = (name: string) =>
  Effect.map(raw(name, { kind: "text", fallback: null, isSecret: true }), (value) => (value === null ? null : Redacted.make(value.trim())))

/** A whole number. @category readers @since 0.1.0 */
export const whole = Effect.fnUntraced(function* (name: string, fallback: number, least: number, most: number, orOff = false) {
  const value = yield* raw(name, { kind: "whole", fallback, least, most, orOff })
  if (value === null) return fallback
  const number = /^\d+$/.test(value.trim()) ? Number(value) : Number.NaN
  return number >= least && number <= most ? number : yield* refuse(name, value, `a whole number from ${least} to ${most}`)
})

/** What a switch is called elsewhere. */
const alike: Readonly<Record<string, ReadonlyArray<string>>> = {
  on: ["true", "yes"],
  off: ["false", "no"],
  true: ["on", "yes"],
  false: ["off", "no"]
}

/** One of a few words, in any case. @category readers @since 0.1.0 */
export const oneOf = <const T extends string>(name: string, fallback: T, options: ReadonlyArray<T>) =>
  Effect.flatMap(raw(name, { kind: "choice", fallback: fallback === "" ? null : fallback, options }), (value) => {
    if (value === null) return Effect.succeed(fallback)
    const said = value.trim().toLowerCase()
    const found = options.find((option) => option.toLowerCase() === said || alike[option]?.includes(said) === true)
    return found === undefined ? refuse(name, value, `one of ${options.join(", ")}`) : Effect.succeed(found)
  })

/** An address; one that may hold a password is a secret. @category readers @since 0.1.0 */
export const url = Effect.fnUntraced(function* (name: string, protocols: ReadonlyArray<string>, isSecret = false) {
  const value = yield* raw(name, { kind: "url", fallback: null, isSecret })
  if (value === null) return null
  const sane = URL.canParse(value) && protocols.includes(new URL(value).protocol)
  return sane
    ? value.trim()
    : yield* refuse(name, "(redacted)", `a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`)
})
