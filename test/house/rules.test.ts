/**
 * The rules of the house: who may import whom, and how files are kept.
 */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

interface Source {
  readonly path: string
  readonly text: string
  readonly imports: ReadonlyArray<string>
}

const walk = (directory: string): ReadonlyArray<string> =>
  readdirSync(join(root, directory)).flatMap((name) => {
    const path = join(directory, name)
    return statSync(join(root, path)).isDirectory() ? walk(path) : path.endsWith(".ts") ? [path] : []
  })

const importPattern = /^\s*(?:import|export)\s[^"'`]*?from\s+"([^"]+)"|^\s*import\s+"([^"]+)"/gm

const read = (path: string): Source => {
  const text = readFileSync(join(root, path), "utf8")
  return { path, text, imports: [...text.matchAll(importPattern)].map((match) => match[1] ?? match[2] ?? "") }
}

const sources = ["schemas", "src", "layers"].flatMap(walk).map(read)
/** A file without its comments; the slashes of an address inside a string begin none. */
const code = (source: Source) => source.text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(?<!:)\/\/.*$/gm, "")
const target = (source: Source, specifier: string) => normalize(join(dirname(source.path), specifier))
const local = (source: Source) =>
  source.imports.filter((specifier) => specifier.startsWith(".")).map((specifier) => target(source, specifier))
const room = (path: string) =>
  path
    .split("/")
    .slice(0, path.startsWith("src/") && path.split("/").length > 2 ? 2 : 1)
    .join("/")

const offences = (rule: (source: Source) => ReadonlyArray<string>, within = sources) =>
  within.flatMap((source) => rule(source).map((what) => `${source.path}: ${what}`))

const isEffect = (specifier: string) => specifier === "effect" || specifier.startsWith("effect/")

/** Rooms that plainly stand on another; everything else meets in Gateway.ts and http/. */
const standsOn: Readonly<Record<string, ReadonlyArray<string>>> = {
  "src/billing": ["src/database", "src/identity", "src/ledger"],
  "src/catalog": ["src/database", "src/providers", "src/replicas", "src/routing"],
  "src/database": ["src/billing", "src/catalog", "src/events", "src/health", "src/identity", "src/ledger", "src/usage"],
  "src/events": ["src/database", "src/identity", "src/ledger", "src/limits", "src/replicas", "src/usage"],
  "src/health": ["src/catalog", "src/database", "src/providers", "src/replicas", "src/routing", "src/usage"],
  "src/identity": ["src/database", "src/ledger", "src/replicas"],
  "src/ledger": ["src/database"],
  "src/providers": ["src/actors", "src/replicas", "src/streams", "src/telemetry"],
  "src/usage": ["src/database", "src/ledger", "src/providers", "src/replicas", "src/routing", "src/telemetry"]
}

describe("the rules of the house", () => {
  it("schemas import only effect and each other", () => {
    const rule = (source: Source) =>
      source.imports.filter(
        (specifier) => !isEffect(specifier) && !(specifier.startsWith(".") && target(source, specifier).startsWith("schemas/"))
      )
    assert.deepStrictEqual(
      offences(
        rule,
        sources.filter((source) => source.path.startsWith("schemas/"))
      ),
      []
    )
  })

  it("src imports no driver, no node module and nothing of layers, main.ts apart", () => {
    const inSrc = sources.filter((source) => source.path.startsWith("src/") && source.path !== "src/main.ts")
    const rule = (source: Source) =>
      source.imports.filter((specifier) =>
        specifier.startsWith(".") ? target(source, specifier).startsWith("layers/") : !isEffect(specifier)
      )
    assert.deepStrictEqual(offences(rule, inSrc), [])
    const config = (source: Source) => (/\bConfig\b[^"]*\} from "effect"|\bConfigProvider\b/.test(code(source)) ? ["reads Config"] : [])
    assert.deepStrictEqual(offences(config, inSrc), [])
  })

  it("src takes no clock, randomness, environment or console by itself", () => {
    const banned = /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bprocess\.env\b|\bconsole\./g
    const inSrc = sources.filter((source) => source.path.startsWith("src/") && source.path !== "src/main.ts")
    assert.deepStrictEqual(
      offences((source) => code(source).match(banned) ?? [], inSrc),
      []
    )
  })

  it("rooms meet in Gateway.ts (and GatewayRun.ts), http, cli and main.ts, or where one plainly stands on another", () => {
    const meeting = ["src/Gateway.ts", "src/GatewayRun.ts", "src/main.ts"]
    const inRooms = sources.filter(
      (source) => source.path.startsWith("src/") && !meeting.includes(source.path) && !["src/http", "src/cli"].includes(room(source.path))
    )
    const rule = (source: Source) =>
      local(source).filter((path) => {
        const other = room(path)
        return path.startsWith("src/") && other !== room(source.path) && !(standsOn[room(source.path)] ?? []).includes(other)
      })
    assert.deepStrictEqual(offences(rule, inRooms), [])
  })

  it("nothing imports main.ts, and no imports go in a circle", () => {
    const edges = new Map(sources.map((source) => [source.path, local(source).filter((path) => path.endsWith(".ts"))]))
    assert.deepStrictEqual(
      [...edges].filter(([, targets]) => targets.includes("src/main.ts")),
      []
    )
    const circles: Array<string> = []
    const done = new Set<string>()
    const visit = (path: string, trail: ReadonlyArray<string>): void => {
      if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(" → "))
      else if (!done.has(path)) {
        for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
        done.add(path)
      }
    }
    for (const path of edges.keys()) visit(path, [])
    assert.deepStrictEqual(circles, [])
  })

  it("no file only passes others on, and no two files of src and layers share a name", () => {
    const barrel = (source: Source) => (/^\s*export\s+(\*|\{[^}]*\})\s+from\s/m.test(code(source)) ? ["passes exports on"] : [])
    assert.deepStrictEqual(offences(barrel), [])
    const names = sources.filter((source) => !source.path.startsWith("schemas/")).map((source) => basename(source.path))
    assert.deepStrictEqual(
      names.filter((name, at) => names.indexOf(name) !== at),
      []
    )
  })

  it("files stay under 400 lines and types stay tight", () => {
    assert.deepStrictEqual(
      offences((source) => (source.text.split("\n").length > 400 ? [`${source.text.split("\n").length} lines`] : [])),
      []
    )
    const loose = /: any\b|<any>|\bas (?!const\b|")[A-Za-z{(]|@ts-(ignore|expect-error|nocheck)/g
    const withoutImports = (source: Source) =>
      code(source)
        .replace(/^\s*(import|export)[^"]*from "[^"]*".*$/gm, "")
        .replace(/`(?:[^`\\]|\\.)*`/g, "``")
        .replace(/"(?:[^"\\\n]|\\.)*"/g, '""')
        .replace(/import \* as/g, "")
    assert.deepStrictEqual(
      offences((source) => withoutImports(source).match(loose) ?? []),
      []
    )
  })

  it("the top level holds only what belongs there, and the lock file names no registry", () => {
    const allowed = [
      "package.json",
      "package-lock.json",
      "tsconfig.json",
      "src",
      "layers",
      "schemas",
      "test",
      "bench",
      "README.md",
      "LICENSE",
      "Dockerfile",
      "compose.yaml"
    ]
    const made = ["node_modules", "dist", "data", "coverage"]
    const others = readdirSync(root).filter((name) => !name.startsWith(".") && !allowed.includes(name) && !made.includes(name))
    assert.deepStrictEqual(others, [])
    assert.notMatch(readFileSync(join(root, "package-lock.json"), "utf8"), /"resolved":/)
  })
})
