/**
 * The configuration file, `sluice.yaml` or what `SLUICE_CONFIG` names: settings by the environment's names in lower case, and
 * the sections that no single variable could say. `${NAME}` stands for a variable, `${NAME:-text}` for one with a fallback.
 *
 * @since 0.1.0
 */
import { Effect, Exit, FileSystem, Option, SchemaIssue, SchemaParser } from "effect"
import { Yaml } from "effect/encoding"
import { Sections } from "../schemas/ConfigFile.ts"
import * as Json from "../schemas/Json.ts"
import { type FileValue, inEnvironment, SettingError } from "./SettingReaders.ts"

/** @category models @since 0.1.0 */
export interface ConfigFile {
  /** Null: there is none. */
  readonly path: string | null
  /** Settings, by the names of the environment. */
  readonly values: ReadonlyMap<string, FileValue>
  readonly sections: Sections
}

const DEFAULT_PATH = "sluice.yaml"

/** No file. @category data @since 0.1.0 */
export const none: ConfigFile = { path: null, values: new Map(), sections: {} }

const fail = (message: string) => Effect.fail(new SettingError({ message }))

const reference = /\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g

/** A text with its references filled; `$${` is a plain `${`. */
const fillText = Effect.fnUntraced(function* (text: string, at: string) {
  let filled = ""
  let end = 0
  for (const match of text.matchAll(reference)) {
    const [whole, escaped, name = "", fallback] = match
    filled += text.slice(end, match.index)
    end = match.index + whole.length
    if (escaped !== undefined) {
      filled += whole.slice(1)
      continue
    }
    const value = (yield* inEnvironment(name)) ?? fallback
    if (value === undefined)
      return yield* fail(`${at} refers to \${${name}}, which is not set. Set it, or give a fallback: \${${name}:-…}.`)
    filled += value
  }
  return filled + text.slice(end)
})

const fill = (value: unknown, at: string): Effect.Effect<Json.Json, SettingError> => {
  if (typeof value === "string") return fillText(value, at)
  if (Array.isArray(value)) return Effect.forEach(value, (item, index) => fill(item, `${at}.${index}`))
  if (typeof value === "object" && value !== null) {
    const entries = Effect.forEach(Object.entries(value), ([key, item]) =>
      Effect.map(fill(item, at.endsWith(": ") ? `${at}${key}` : `${at}.${key}`), (filled) => [key, filled] as const)
    )
    return Effect.map(entries, (found): Json.Json => Object.fromEntries(found))
  }
  return Effect.succeed(typeof value === "number" || typeof value === "boolean" ? value : null)
}

/** A setting as the environment would say it; null where it could not. */
const toText = (value: Json.Json): string | null => {
  if (typeof value === "boolean") return value ? "on" : "off"
  if (typeof value === "string" || typeof value === "number") return String(value)
  const parts = Json.isArray(value)
    ? value.map((item) => (typeof item === "object" ? null : toText(item)))
    : Json.isObject(value)
      ? Object.entries(value).flatMap(pairTexts)
      : [null]
  return parts.some((part) => part === null || part.includes(",")) ? null : parts.join(",")
}

const pairTexts = ([name, value]: readonly [string, Json.Json]): ReadonlyArray<string | null> =>
  (Json.isArray(value) ? value : [value]).map((item) => (typeof item === "object" ? null : `${name}=${String(item)}`))

const describe = SchemaIssue.makeFormatterStandardSchemaV1()

const valueAt = (value: Json.Json, keys: ReadonlyArray<string>): Json.Json | undefined => {
  const [first, ...rest] = keys
  if (first === undefined) return value
  const next = Json.isArray(value) ? value[Number(first)] : Json.isObject(value) ? value[first] : undefined
  return next === undefined ? undefined : valueAt(next, rest)
}

/** What a schema has against a file, with the place; what may be a secret is not shown. */
const explain = (path: string, sections: Json.Json, exit: Exit.Failure<unknown, SchemaIssue.Issue>): string => {
  for (const reason of exit.cause.reasons) {
    if (reason._tag !== "Fail") continue
    const issue = describe(reason.error).issues[0]
    const keys = (issue?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part))
    const isSecret = keys.includes("api_key") || keys.includes("headers")
    const got = valueAt(sections, keys)
    const words = (issue?.message ?? "expected something else")
      .replace(/^Expected/, "expected")
      .replace("no excess property", "no such key")
    const shown = isSecret ? "(redacted)" : (JSON.stringify(got)?.slice(0, 100) ?? "missing")
    return `${path}: ${keys.join(".")} is ${shown}, ${words}`
  }
  return `${path} is not as expected`
}

const sectionNames = Object.keys(Sections.fields)

/** A file's text as what it says. @category decoding @since 0.1.0 */
export const decode = Effect.fnUntraced(function* (path: string, text: string): Effect.fn.Return<ConfigFile, SettingError> {
  const parsed = yield* Effect.try({
    try: () => Yaml.parse(text),
    catch: (error) => new SettingError({ message: `${path} is no YAML: ${error instanceof Error ? error.message : String(error)}` })
  })
  if (parsed === null || parsed === undefined) return { ...none, path }
  const filled = yield* fill(parsed, `${path}: `)
  if (!Json.isObject(filled)) return yield* fail(`${path} must hold settings such as \`port: 8080\`, one a line.`)
  const values = new Map<string, FileValue>()
  const sections: Record<string, Json.Json> = {}
  for (const [key, value] of Object.entries(filled)) {
    // A key without a value is one that was not set.
    if (value === null) continue
    if (sectionNames.includes(key)) {
      sections[key] = value
      continue
    }
    const at = `${path}: ${key}`
    if (!/^[a-z][a-z0-9_]*$/.test(key)) return yield* fail(`${at} is no setting: settings are the environment's names in lower case.`)
    const plain = toText(value)
    if (plain === null)
      return yield* fail(`${at} takes one value, a list of values, or pairs of names and values; none of them with a comma.`)
    if (plain.trim() !== "") values.set(key.toUpperCase(), { value: plain, path: at })
  }
  const decoded = SchemaParser.decodeUnknownExit(Sections, { onExcessProperty: "error" })(sections)
  if (Exit.isFailure(decoded)) return yield* fail(explain(path, sections, decoded))
  return { path, values, sections: decoded.value }
})

/** The file of this deployment. @category readers @since 0.1.0 */
export const load = Effect.gen(function* () {
  const named = yield* inEnvironment("SLUICE_CONFIG")
  const files = yield* FileSystem.FileSystem
  const path = named ?? DEFAULT_PATH
  const text = yield* Effect.option(files.readFileString(path))
  if (Option.isSome(text)) return yield* decode(path, text.value)
  const isThere = yield* Effect.orElseSucceed(files.exists(path), () => true)
  if (isThere) return yield* fail(`The configuration file ${path} cannot be read.`)
  return named === null ? none : yield* fail(`SLUICE_CONFIG is ${JSON.stringify(named)}, but there is no such file.`)
})
