/**
 * The description of the API: valid by itself, complete, and what the running server does.
 */
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Validator } from "@cfworker/json-schema"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { VERSION } from "../../src/http/ApiDescription.ts"
import { groupWords, routeWords } from "../../src/http/RouteWords.ts"
import { house } from "../support/house.ts"
import { ADMIN_KEY, newCustomer } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

interface Parameter {
  readonly name: string
  readonly in: "path" | "query" | "header"
  readonly required?: boolean
  readonly schema: object
}

type Content = Readonly<Record<string, { readonly schema: object; readonly example?: unknown }>>

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: ReadonlyArray<string>
  readonly parameters: ReadonlyArray<Parameter>
  readonly security: ReadonlyArray<Readonly<Record<string, ReadonlyArray<string>>>>
  readonly requestBody?: { readonly content: Content; readonly required?: boolean }
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>
}

interface Document {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string }
  readonly tags: ReadonlyArray<{ readonly name: string; readonly description: string }>
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>>; readonly securitySchemes: Readonly<Record<string, object>> }
}

interface Route {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

const at = house()
let document: Document
let routes: ReadonlyArray<Route>
let key: string

beforeAll(async () => {
  document = JSON.parse(await (await fetch(`${at.server.url}/openapi.json`)).text())
  routes = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation }))
  )
  key = (await newCustomer(at.server, { balanceUsd: "1" })).key
})

/** A schema with everything that it may refer to. */
const validator = (schema: object) => new Validator({ ...schema, components: document.components }, "2020-12", false)

const send = (route: Route, more: { readonly key?: string; readonly body?: unknown } = {}) =>
  fetch(at.server.url + route.path.replace(/\{\w+\}/g, "nothing-of-the-kind"), {
    method: route.method,
    headers: {
      ...(more.key === undefined ? {} : { authorization: `Bearer ${more.key}` }),
      ...(route.method === "GET" ? {} : { "content-type": "application/json" })
    },
    ...(route.method === "GET" ? {} : { body: JSON.stringify(more.body ?? {}) })
  })

describe("the description by itself", () => {
  it("is an OpenAPI 3.1 document whose parts fit together", () => {
    assert.match(document.openapi, /^3\.1\.\d$/)
    assert.deepInclude(document.info, { title: "Sluice", version: VERSION })
    assert.strictEqual(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version, VERSION)
    const ids = routes.map(({ operation }) => operation.operationId)
    assert.strictEqual(new Set(ids).size, ids.length)
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? "")
    for (const reference of new Set(references)) {
      const name = /^#\/components\/schemas\/([A-Za-z0-9._-]+)$/.exec(reference)?.[1] ?? reference
      assert.property(document.components.schemas, name)
    }
    for (const { operation, path } of routes) {
      const where = operation.operationId
      assert.match(path, /^\/([A-Za-z0-9._{}-]+\/?)+$/, where)
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
      const told = operation.parameters.filter((parameter) => parameter.in === "path")
      assert.deepStrictEqual(told.map(({ name }) => name).sort(), inPath.sort(), where)
      for (const parameter of operation.parameters) {
        assert.include(["path", "query", "header"], parameter.in, where)
        assert.isObject(parameter.schema, where)
        if (parameter.in === "path") assert.isTrue(parameter.required, where)
      }
      assert.isAbove(Object.keys(operation.responses).length, 0, where)
      for (const [status, response] of Object.entries(operation.responses)) {
        assert.match(status, /^[1-5]\d\d$/, where)
        assert.isString(response.description, where)
        for (const media of Object.values(response.content ?? {})) assert.isObject(media.schema, where)
      }
      assert.isTrue(
        Object.keys(operation.responses).some((status) => status.startsWith("2")),
        where
      )
    }
  })

  it("says of every route what it does, who may use it and where it belongs; of nothing else", () => {
    assert.deepStrictEqual(routes.map(({ operation }) => operation.operationId).sort(), Object.keys(routeWords).sort())
    assert.deepStrictEqual(document.tags.map(({ name }) => name).sort(), Object.keys(groupWords).sort())
    for (const { operation } of routes) {
      assert.isAbove(operation.summary.length, 5, operation.operationId)
      assert.strictEqual(operation.tags.length, 1)
      assert.property(groupWords, operation.tags[0] ?? "")
      for (const scheme of operation.security.flatMap(Object.keys)) assert.property(document.components.securitySchemes, scheme)
    }
  })

  it("has examples that are what their schemas say", () => {
    assert.isFalse(validator({ $ref: "#/components/schemas/User" }).validate({ id: 1 }).valid, "schemas are followed")
    let seen = 0
    for (const { operation } of routes) {
      for (const media of Object.values(operation.requestBody?.content ?? {})) {
        if (media.example === undefined) continue
        seen++
        const result = validator(media.schema).validate(media.example)
        assert.isTrue(result.valid, `${operation.operationId}: ${JSON.stringify(result.errors)}`)
      }
    }
    assert.isAbove(seen, 10)
  })

  it("can be read as a page", async () => {
    const page = await fetch(`${at.server.url}/docs`)
    assert.match(page.headers.get("content-type") ?? "", /text\/html/)
    const text = await page.text()
    assert.include(text, "inference.chatCompletions")
    assert.include(text, "Chat, by OpenAI's protocol")
  })
})

describe("the description and the server", () => {
  it("every described route is there, and asks for a key exactly where it is said to", async () => {
    for (const route of routes) {
      const response = await send(route)
      const text = await response.text()
      const where = `${route.method} ${route.path} → ${response.status} ${text.slice(0, 200)}`
      assert.notStrictEqual(response.status, 405, where)
      assert.notInclude(text, "ENDPOINT_NOT_FOUND", where)
      const isOpen = route.operation.security.length === 0 || route.operation.security.some((scheme) => Object.keys(scheme).length === 0)
      if (isOpen) assert.isTrue(response.status !== 401 || route.path.startsWith("/auth/"), where)
      else assert.strictEqual(response.status, 401, where)
      assert.property(route.operation.responses, String(response.status), where)
    }
  })

  it("a customer's key is refused where the operator's is asked for, and nowhere else", async () => {
    for (const route of routes) {
      if (route.method !== "GET") continue
      const response = await send(route, { key })
      const text = await response.text()
      const isOperators = route.operation.security.some((scheme) => "admin" in scheme)
      assert.strictEqual(response.status === 403, isOperators, `${route.path}: ${response.status} ${text.slice(0, 200)}`)
    }
  })

  it("answers are what is described: every list and object that needs no name", async () => {
    let seen = 0
    for (const route of routes) {
      if (route.method !== "GET" || route.path.includes("{")) continue
      const response = await send(route, { key: route.operation.security.some((scheme) => "admin" in scheme) ? ADMIN_KEY : key })
      const text = await response.text()
      if (!(response.headers.get("content-type") ?? "").includes("json")) continue
      seen++
      const schema = route.operation.responses[String(response.status)]?.content?.["application/json"]?.schema
      const result = validator(schema ?? {}).validate(JSON.parse(text))
      assert.isDefined(schema, `${route.path} ${response.status}`)
      assert.isTrue(result.valid, `${route.path} ${response.status} ${text.slice(0, 300)}: ${JSON.stringify(result.errors)}`)
    }
    assert.isAbove(seen, 20)
  })

  it("the examples work: the sandbox answers them as described", async () => {
    for (const route of routes) {
      if (route.operation.tags[0] !== "inference") continue
      const body = route.operation.requestBody?.content["application/json"]?.example
      if (body === undefined) continue
      const response = await send(route, { key, body })
      const text = await response.text()
      assert.strictEqual(response.status, 200, `${route.path}: ${text.slice(0, 300)}`)
      const schema = route.operation.responses["200"]?.content?.["application/json"]?.schema ?? {}
      const result = validator(schema).validate(JSON.parse(text))
      assert.isTrue(result.valid, `${route.path} ${text.slice(0, 400)}: ${JSON.stringify(result.errors)}`)
    }
  })

  it("a path that is not described is not there", async () => {
    for (const path of ["/v1/nothing", "/admin/nothing", "/nothing"]) {
      const response = await fetch(at.server.url + path)
      assert.strictEqual(response.status, 404)
      assert.include(await response.text(), "ENDPOINT_NOT_FOUND")
    }
  })

  it("CM-17.3 every group of routes exists", () => {
    const groups: Readonly<Record<string, string>> = {
      chat: "POST /v1/chat/completions",
      messages: "POST /v1/messages",
      auth: "POST /auth/login",
      users: "GET /admin/users",
      "API keys": "POST /v1/keys",
      admin: "GET /admin/audit",
      payments: "POST /api/stripe/webhook",
      plans: "GET /v1/plans",
      credits: "GET /v1/credits",
      health: "GET /health",
      catalog: "GET /v1/models",
      images: "POST /v1/images/generations",
      audio: "POST /v1/audio/transcriptions",
      webhooks: "GET /v1/webhooks",
      metrics: "GET /metrics",
      status: "GET /v1/status"
    }
    const there = routes.map(({ method, path }) => `${method} ${path}`)
    for (const [group, route] of Object.entries(groups)) assert.include(there, route, group)
  })
})
