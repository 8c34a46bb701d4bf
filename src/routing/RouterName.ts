/**
 * Names of routers: `router:general[:mode]` and `router:code[:mode]`, or with hyphens. Pure.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export type GeneralMode = "quality" | "cost" | "latency" | "balanced"

/** @category models @since 0.1.0 */
export type CodeMode = "auto" | "price" | "quality" | "agentic"

/** @category models @since 0.1.0 */
export type RouterName = { readonly router: "general"; readonly mode: GeneralMode } | { readonly router: "code"; readonly mode: CodeMode }

const generalModes: ReadonlyArray<GeneralMode> = ["quality", "cost", "latency", "balanced"]
const codeModes: ReadonlyArray<CodeMode> = ["auto", "price", "quality", "agentic"]

const hyphenated = /^(?:sluice|router)-(general|code)(?:-([a-z]+))?$/

/** What a name says, in any letter case; `"invalid"` for a router or a mode that does not exist, null for a name that means no router. @category parsers @since 0.1.0 */
export const parseRouter = (name: string): RouterName | "invalid" | null => {
  const lower = name.toLowerCase()
  const match = hyphenated.exec(lower)
  if (match === null && lower !== "router" && !lower.startsWith("router:")) return null
  const [router, mode, ...rest] = match === null ? lower.split(":").slice(1) : [match[1], match[2]]
  if (rest.length > 0) return "invalid"
  if (router === "general") {
    const found = mode === undefined ? "balanced" : generalModes.find((known) => known === mode)
    return found === undefined ? "invalid" : { router, mode: found }
  }
  if (router === "code") {
    const found = mode === undefined ? "auto" : codeModes.find((known) => known === mode)
    return found === undefined ? "invalid" : { router, mode: found }
  }
  return "invalid"
}

/** Every router and its modes, for whoever wrote another. @category formatting @since 0.1.0 */
export const routerNames = `router:general:{${generalModes.join(",")}} and router:code:{${codeModes.join(",")}}`
