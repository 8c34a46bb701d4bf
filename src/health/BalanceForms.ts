/**
 * What providers say of the credit that is left there, each in its own words. Pure.
 *
 * @since 0.1.0
 */
import * as Json from "../../schemas/Json.ts"
import type { BalanceForm } from "../../schemas/Provider.ts"

const number = (value: Json.Json | undefined): number | null => {
  const read = typeof value === "string" && value.trim() !== "" ? Number(value) : value
  return typeof read === "number" && Number.isFinite(read) ? read : null
}

const field = (value: Json.Json | undefined, ...path: ReadonlyArray<string>): Json.Json | undefined =>
  path.reduce<Json.Json | undefined>((at, name) => (Json.isObject(at) ? at[name] : undefined), value)

const openRouter = (body: Json.Json): number | null => {
  const [bought, used] = [number(field(body, "data", "total_credits")), number(field(body, "data", "total_usage"))]
  return bought === null || used === null ? null : bought - used
}

/** In several currencies; one that is not in USD is not guessed at. */
const deepSeek = (body: Json.Json): number | null => {
  const rows = field(body, "balance_infos")
  const row = Json.isArray(rows) ? rows.find((candidate) => field(candidate, "currency") === "USD") : undefined
  return number(field(row, "total_balance"))
}

const forms: Readonly<Record<BalanceForm, (body: Json.Json) => number | null>> = {
  openrouter: openRouter,
  deepseek: deepSeek,
  moonshot: (body) => number(field(body, "data", "available_balance")),
  siliconflow: (body) => number(field(body, "data", "totalBalance"))
}

/** USD that are left; null where the answer does not say. @category parsers @since 0.1.0 */
export const readBalance = (form: BalanceForm, text: string): number | null => {
  const body = Json.parse(text)
  return body === undefined ? null : forms[form](body)
}
