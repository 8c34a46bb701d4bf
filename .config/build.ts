/**
 * Builds the server, `dist/sluice.js` and the parts of it that are loaded on demand, and the typed modules for embedding into `dist/lib`.
 *
 * `--if-stale`: only the server, and only when a source is newer than it. `--modules`: only the modules, those that changed.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, readdirSync, rmSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const bundle = join(root, "dist", "sluice.js")

const newest = (path: string): number => {
  const entry = statSync(path)
  if (!entry.isDirectory()) return entry.mtimeMs
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), 0)
}

const isStale = (): boolean => {
  if (!existsSync(bundle)) return true
  const built = statSync(bundle).mtimeMs
  return ["src", "layers", "schemas", "package.json", "package-lock.json"].some((name) => newest(join(root, name)) > built)
}

/** What is built holds nothing of sources that are gone. */
const clear = (...names: ReadonlyArray<string>): void => {
  for (const name of names) rmSync(join(root, "dist", name), { recursive: true, force: true })
}

const buildServer = async (): Promise<void> => {
  const build = await rolldown({
    input: join(root, "src", "main.ts"),
    platform: "node",
    // PGlite finds its own files by its place on disk; the rest is better in one file, apart from what is loaded on demand.
    external: ["@electric-sql/pglite", /^node:/],
    // The runtime asks every step of a request for methods under constants of other modules: a name that stands there is found sooner.
    optimization: { inlineConst: { mode: "all", pass: 3 } },
    logLevel: "warn"
  })
  await build.write({
    dir: join(root, "dist"),
    entryFileNames: "sluice.js",
    chunkFileNames: "parts/[name].js",
    format: "esm",
    sourcemap: true
  })
  await build.close()
  chmodSync(bundle, 0o755)
  // What runs at every start is kept as it was compiled: see `layers/EngineSetup.ts`.
  clear("compiled")
  spawnSync(process.execPath, [bundle, "--version"], { stdio: "ignore" })
}

const buildModules = (): void => {
  const result = spawnSync(
    process.execPath,
    [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", join(root, ".config", "tsconfig.lib.json")],
    {
      stdio: "inherit"
    }
  )
  if (result.status !== 0) process.exit(result.status ?? 1)
}

if (process.argv.includes("--modules")) buildModules()
else if (!process.argv.includes("--if-stale")) {
  clear("parts", "lib")
  await buildServer()
  buildModules()
} else if (isStale()) {
  console.log("Building the server …")
  await buildServer()
}
