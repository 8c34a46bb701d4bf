/**
 * The image and its composition, as far as they can be held without an engine: what they name exists, and the files that the
 * image has are enough to serve.
 */
import { spawn, spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Yaml } from "effect/encoding"
import { settingWords } from "../../layers/SettingWords.ts"
import { eventually, temporaryDirectory } from "../support/server.ts"
import { freePort } from "../support/services.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const read = (name: string) => readFileSync(join(root, name), "utf8")

interface Instruction {
  readonly word: string
  readonly rest: string
}

/** The instructions of each stage, lines that go on joined and comments left out. */
const stagesOf = (text: string): ReadonlyArray<ReadonlyArray<Instruction>> => {
  const lines = text
    .replace(/^\s*#.*\n/gm, "")
    .replace(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "")
  const stages: Array<Array<Instruction>> = [[]]
  for (const line of lines) {
    const [, word = "", rest = ""] = /^(\w+)\s+(.*)$/.exec(line) ?? []
    assert.match(word, /^(ARG|FROM|WORKDIR|COPY|RUN|LABEL|ENV|USER|VOLUME|EXPOSE|HEALTHCHECK|CMD)$/, line)
    if (word === "FROM") stages.push([])
    stages.at(-1)?.push({ word, rest })
  }
  return stages
}

const [args = [], build = [], image = []] = stagesOf(read("Dockerfile"))
const all = (stage: ReadonlyArray<Instruction>, word: string) => stage.filter((one) => one.word === word).map(({ rest }) => rest)
const command = (text: string): ReadonlyArray<string> => JSON.parse(text.slice(text.indexOf("[")))

const Composition = Schema.Struct({
  services: Schema.Record(
    Schema.String,
    Schema.Struct({
      image: Schema.String,
      environment: Schema.optional(Schema.Record(Schema.String, Schema.String)),
      ports: Schema.optional(Schema.Array(Schema.String)),
      volumes: Schema.Array(Schema.String),
      networks: Schema.Array(Schema.String),
      healthcheck: Schema.optional(Schema.Struct({ test: Schema.Array(Schema.String) })),
      depends_on: Schema.optional(Schema.Record(Schema.String, Schema.Struct({ condition: Schema.String }))),
      stop_grace_period: Schema.optional(Schema.String)
    })
  ),
  volumes: Schema.Record(Schema.String, Schema.Unknown),
  networks: Schema.Record(Schema.String, Schema.Unknown)
})

describe("the image", () => {
  const directory = temporaryDirectory()
  afterAll(directory.remove)

  it("is pinned to the Node that the project runs on, and every file that it takes exists and is let in", () => {
    const { dependencies } = JSON.parse(read("package.json"))
    assert.deepStrictEqual(all(args, "ARG"), [`NODE_IMAGE=node:${dependencies.node}-alpine`])
    assert.match(all(build, "FROM")[0] ?? "", /^\$\{NODE_IMAGE\} AS build$/)
    assert.match(all(image, "FROM")[0] ?? "", /^\$\{NODE_IMAGE\}$/)
    const admitted = read(".dockerignore")
      .split("\n")
      .flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []))
    const taken = [...all(build, "COPY"), ...all(image, "COPY")].filter((rest) => !rest.startsWith("--from")).map((rest) => rest.split(" "))
    for (const source of taken.flatMap((words) => words.slice(0, -1))) {
      assert.isTrue(existsSync(join(root, source)), source)
      assert.include(admitted, source)
    }
    assert.sameMembers(
      admitted,
      taken.flatMap((words) => words.slice(0, -1)).filter((name, at, names) => names.indexOf(name) === at)
    )
  })

  it("runs as nobody special, tells what it listens on by settings that exist, and is asked a path that exists", () => {
    assert.deepStrictEqual(all(image, "USER"), ["node"])
    const names = all(image, "ENV").flatMap((rest) => rest.split(" ").map((pair) => pair.split("=")[0] ?? ""))
    assert.deepStrictEqual(
      names.filter((name) => !(name in settingWords)),
      ["NODE_ENV"]
    )
    assert.include(read("src/http/Api.ts"), '"/health/ready"')
    assert.include(all(image, "HEALTHCHECK")[0] ?? "", "/health/ready")
    // What is run as a list gets signals itself.
    assert.deepStrictEqual(command(all(image, "CMD")[0] ?? ""), ["node", "--max-semi-space-size=16", "/app/dist/sluice.js", "serve"])
  })

  it("serves with the files that it has and nothing beside them, and its health check tells ready from away", async () => {
    const app = join(directory.path, "app")
    for (const rest of all(image, "COPY")) {
      const words = rest.split(" ").filter((word) => !word.startsWith("--"))
      const to = words.at(-1) ?? ""
      for (const from of words.slice(0, -1)) {
        const source = join(root, from.replace(/^\/build\//, ""))
        cpSync(source, to.endsWith("/") ? join(app, to, from) : join(app, to), { recursive: true })
      }
    }
    const data = join(directory.path, "data")
    mkdirSync(data)
    const port = String(await freePort())
    const env = { NODE_ENV: "production", HOST: "127.0.0.1", PORT: port, DATA_DIR: data }
    const [, ...check] = command(all(image, "HEALTHCHECK")[0] ?? "")
    const healthy = () => spawnSync(process.execPath, check, { env }).status
    assert.strictEqual(healthy(), 1)
    const [, flag = "", , ...words] = command(all(image, "CMD")[0] ?? "")
    const child = spawn(process.execPath, [flag, join(app, "dist/sluice.js"), ...words], {
      cwd: app,
      env,
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()))
    const exited = new Promise<number | null>((resolve) => child.once("exit", resolve))
    try {
      await eventually(() => assert.match(output, /listens on/, String(child.exitCode)), 30_000)
      assert.strictEqual(healthy(), 0, output)
    } finally {
      child.kill("SIGTERM")
    }
    assert.strictEqual(await exited, 0)
  }, 60_000)
})

describe("the composition", () => {
  const { networks, services, volumes } = Schema.decodeUnknownSync(Composition)(Yaml.parse(read("compose.yaml")))

  it("names settings that exist, asks for every secret by name, and publishes nothing but the server", () => {
    const { environment = {}, ports = [] } = services["sluice"] ?? assert.fail("no sluice")
    assert.deepStrictEqual(
      Object.keys(environment).filter((name) => !(name in settingWords)),
      []
    )
    for (const name of ["ADMIN_API_KEY", "KEY_ENCRYPTION_KEY", "KEY_HASH_SECRET"])
      assert.match(environment[name] ?? "", new RegExp(`^\\$\\{${name}:\\?set ${name} in \\.env`))
    for (const value of [environment["DATABASE_URL"], services["postgres"]?.environment?.["POSTGRES_PASSWORD"]])
      assert.include(value, "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD in .env")
    // The host's side may be chosen; the container's is what the server listens on.
    assert.isTrue(ports.every((port) => port.endsWith(`:${environment["PORT"]}`)))
    assert.deepStrictEqual(
      Object.entries(services).flatMap(([name, service]) => (service.ports === undefined ? [] : [name])),
      ["sluice"]
    )
  })

  it("starts the server when both databases are healthy, keeps all data in volumes, and waits for its grace", () => {
    const sluice = services["sluice"] ?? assert.fail("no sluice")
    for (const [name, { condition }] of Object.entries(sluice.depends_on ?? {})) {
      assert.strictEqual(condition, "service_healthy")
      assert.isDefined(services[name]?.healthcheck, name)
    }
    assert.sameMembers(Object.keys(sluice.depends_on ?? {}), ["postgres", "redis"])
    for (const service of Object.values(services)) {
      assert.isTrue(service.volumes.every((volume) => (volume.split(":")[0] ?? "") in volumes))
      assert.isTrue(service.networks.every((network) => network in networks))
      if (service !== sluice) assert.match(service.image, /^[a-z]+:\d/)
    }
    assert.isAbove(Number.parseInt(sluice.stop_grace_period ?? "", 10), 30)
    const hosts = [...`${sluice.environment?.["DATABASE_URL"]} ${sluice.environment?.["REDIS_URL"]}`.matchAll(/(?:@|\/\/)(\w+):\d+/g)]
    assert.deepStrictEqual(
      hosts.map(([, host]) => host),
      ["postgres", "redis"]
    )
  })
})
