/**
 * Prices as providers list them, brought to USD per token: exact, whatever the unit. Pure.
 *
 * @since 0.1.0
 */
import type { Json } from "../../schemas/Json.ts"
import * as Money from "../../schemas/Money.ts"

/** What one number in a provider's list means. @category models @since 0.1.0 */
export type PriceUnit = "token" | "thousand" | "million" | "cents_per_token" | "ten_thousandth_per_million"

/** How many decimal places each unit is away from USD per token. */
const places: Readonly<Record<PriceUnit, number>> = {
  token: 0,
  cents_per_token: 2,
  thousand: 3,
  million: 6,
  ten_thousandth_per_million: 10
}

/** Units that are not a token; every other list is taken for USD per million tokens, as most are. */
const units: Readonly<Record<string, PriceUnit>> = {
  openrouter: "token",
  "vercel-ai-gateway": "token",
  nebius: "token",
  sambanova: "token",
  aihubmix: "thousand",
  deepinfra: "cents_per_token",
  novita: "ten_thousandth_per_million"
}

/** @category accessors @since 0.1.0 */
export const unitOf = (provider: string): PriceUnit => units[provider] ?? "million"

const decimalPattern = /^(-?)(\d{0,18})(?:\.(\d{0,30}))?(?:e([+-]?\d{1,3}))?$/i

const PICO_PLACES = 12

/**
 * A listed number in USD per token, rounded up to a picodollar; null where it is no price: not a number, or negative,
 * which says that the price changes by the minute.
 *
 * @category conversions
 * @since 0.1.0
 */
export const perToken = (value: Json | undefined, unit: PriceUnit): Money.Money | null => {
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value.trim() : ""
  const match = decimalPattern.exec(text)
  if (match === null) return null
  const [, sign, whole = "", fraction = "", exponent = "0"] = match
  if (sign === "-" || whole + fraction === "") return null
  const digits = BigInt(whole + fraction)
  const shift = PICO_PLACES + Number(exponent) - fraction.length - places[unit]
  if (shift > 30) return null
  if (shift >= 0) return Money.make(digits * 10n ** BigInt(shift))
  const divisor = 10n ** BigInt(-shift)
  return Money.make((digits + divisor - 1n) / divisor)
}

/** USD per token: outside of these, a price is told to the operator. */
const USUAL_LEAST = Money.usd("0.0000001")
const USUAL_MOST = Money.usd("0.1")
/** Below this a listed price is rather a mistaken unit. */
const LEAST = Money.usd("0.000000001")

/** Whether a price per token is one to believe, and whether to tell of it. @category policies @since 0.1.0 */
export const judge = (price: Money.Money): "usual" | "odd" | "unbelievable" => {
  if (price > USUAL_MOST || (price > 0n && price < LEAST)) return "unbelievable"
  return price > 0n && price < USUAL_LEAST ? "odd" : "usual"
}
