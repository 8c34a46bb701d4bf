/**
 * Money is an integer count of picodollars (1 USD = 10^12), exact at every step.
 *
 * **Gotchas**: never turn an amount into a `number`; outside the program amounts are decimal strings.
 *
 * @since 0.1.0
 */
import { Brand, Option, Schema, SchemaGetter } from "effect"

/** An amount in picodollars; may be negative (a ledger delta). @category models @since 0.1.0 */
export type Money = Brand.Branded<bigint, "Money">

/** Wraps a count of picodollars. @category constructors @since 0.1.0 */
export const make = Brand.nominal<Money>()

/** Nothing. @category constructors @since 0.1.0 */
export const zero: Money = make(0n)

const DECIMALS = 12
const PICO = 10n ** BigInt(DECIMALS)
const decimalPattern = /^(-?)(\d{1,24})(?:\.(\d+))?$/

/**
 * Reads a decimal string in USD such as `"0.00000055"`; none when it is not one or is finer than a picodollar.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromUsd = (text: string): Option.Option<Money> => {
  const match = decimalPattern.exec(text)
  if (match === null) return Option.none()
  const fraction = (match[3] ?? "").replace(/0+$/, "")
  if (fraction.length > DECIMALS) return Option.none()
  const units = BigInt(match[2] ?? "0") * PICO + BigInt(fraction.padEnd(DECIMALS, "0"))
  return Option.some(make(match[1] === "-" ? -units : units))
}

/**
 * Like {@link fromUsd} for constants and data that was checked before; throws on anything else.
 *
 * @category constructors
 * @since 0.1.0
 */
export const usd = (text: string): Money => Option.getOrThrowWith(fromUsd(text), () => new Error(`not an amount in USD: ${text}`))

/** Writes an amount as a decimal string in USD, at least two decimals, no rounding. @category formatting @since 0.1.0 */
export const toUsd = (amount: Money): string => {
  const negative = amount < 0n
  const digits = (negative ? -amount : amount).toString().padStart(DECIMALS + 1, "0")
  const whole = digits.slice(0, -DECIMALS)
  const fraction = digits.slice(-DECIMALS).replace(/0+$/, "").padEnd(2, "0")
  return `${negative ? "-" : ""}${whole}.${fraction}`
}

/** @category arithmetic @since 0.1.0 */
export const add = (a: Money, b: Money): Money => make(a + b)

/** An amount a whole number of times, such as a price per token times tokens. @category arithmetic @since 0.1.0 */
export const times = (price: Money, count: number): Money => make(price * BigInt(count))

/** @category arithmetic @since 0.1.0 */
export const min = (a: Money, b: Money): Money => (a < b ? a : b)

/** @category arithmetic @since 0.1.0 */
export const max = (a: Money, b: Money): Money => (a > b ? a : b)

/** An amount on the wire: a decimal string in USD. @category schemas @since 0.1.0 */
export const MoneyFromUsd = Schema.String.check(
  Schema.makeFilter((text: string) => Option.isSome(fromUsd(text)) || "a decimal string in USD with at most 12 decimals")
).pipe(
  Schema.decodeTo(Schema.BigInt.pipe(Schema.fromBrand("Money", make)), {
    decode: SchemaGetter.transform((text: string): bigint => usd(text)),
    encode: SchemaGetter.transform((amount: bigint) => toUsd(make(amount)))
  })
)
