/**
 * The route that an address belongs to, as its description has it: few enough to be labels and names of spans.
 *
 * @since 0.1.0
 */
import { HttpApi } from "effect/http-api"
import { Api } from "./Api.ts"

/** Where nothing is described. @category constants @since 0.1.0 */
export const UNMATCHED = "unmatched"

/** Finds the route of a method and path; `UNMATCHED` where there is none. @category models @since 0.1.0 */
export type RouteTemplates = (method: string, path: string) => string

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

/** What a path may be asked with; nothing where there is no such path. @category accessors @since 0.1.0 */
export const methodsOf = (templates: RouteTemplates, path: string): ReadonlyArray<string> =>
  methods.filter((method) => templates(method, path) !== UNMATCHED)

const toTemplate = (path: string): string => path.replace(/:(\w+)/g, "{$1}")

const fits = (parts: ReadonlyArray<string>, path: ReadonlyArray<string>): boolean =>
  parts.length === path.length && parts.every((part, at) => (part.startsWith("{") ? path[at] !== "" : part === path[at]))

/** @category constructors @since 0.1.0 */
export const make = (): RouteTemplates => {
  const exact = new Set(["GET /docs", "GET /openapi.json"])
  const open: Array<{ readonly method: string; readonly template: string; readonly parts: ReadonlyArray<string> }> = []
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      const template = toTemplate(endpoint.path)
      if (template.includes("{")) open.push({ method: endpoint.method, template, parts: template.split("/") })
      else exact.add(`${endpoint.method} ${template}`)
    }
  })
  return (asked, path) => {
    const method = asked === "HEAD" ? "GET" : asked
    if (exact.has(`${method} ${path}`)) return path
    const parts = path.split("/")
    return open.find((route) => route.method === method && fits(route.parts, parts))?.template ?? UNMATCHED
  }
}
