/**
 * What lists of requests and reports of usage are asked for, read out of a query.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { UsageQuery } from "../usage/UsageReports.ts"
import { type Grouping, groupings } from "../usage/UsageReports.ts"
import * as ApiError from "./ApiError.ts"

const HOUR = 3_600_000
const DAY = 24 * HOUR
const USUAL_DAYS = 30
const MOST_DAYS = 400
const MOST_DAYS_BY_HOUR = 31

const datePattern = /^\d{4}-\d{2}-\d{2}$/
const timePattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?$/

/** A date or a time, in UTC where it does not say; `to` a date means to its end. @category readers @since 0.1.0 */
export const readTime = (name: "from" | "to", text: string | undefined): Effect.Effect<number | undefined, ApiError.ApiError> => {
  if (text === undefined) return Effect.succeed(undefined)
  // A plus sign in a query is a space.
  const plain = text.trim().replace(" ", "+")
  const isDate = datePattern.test(plain)
  const zoned = isDate || /(Z|[+-]\d{2}:?\d{2})$/.test(plain.slice(10)) ? plain : `${plain}Z`
  const ms = isDate || timePattern.test(plain) ? Date.parse(zoned) : Number.NaN
  // A day that its month does not have is read as one of the next.
  const exists = !isDate || (!Number.isNaN(ms) && new Date(ms).toISOString().startsWith(plain))
  if (Number.isNaN(ms) || !exists) {
    const message = `\`${name}\` must be a date such as 2026-01-31 or a time such as 2026-01-31T13:00:00Z.`
    return Effect.fail(ApiError.invalid(message, name))
  }
  return Effect.succeed(isDate && name === "to" ? ms + DAY : ms)
}

const readGroupings = (text: string | undefined): Effect.Effect<ReadonlyArray<Grouping>, ApiError.ApiError> => {
  const found: Array<Grouping> = []
  for (const part of (text ?? "day").split(",").map((name) => name.trim())) {
    const grouping = groupings.find((each) => each === part)
    if (grouping === undefined) {
      const message = `\`group_by\` must be one or more of ${groupings.join(", ")}, separated by commas.`
      return Effect.fail(ApiError.invalid(message, "group_by"))
    }
    if (!found.includes(grouping)) found.push(grouping)
  }
  return Effect.succeed(found)
}

/** What a report of usage is asked for: whole hours, the last 30 days unless said. @category readers @since 0.1.0 */
export const readUsageQuery = Effect.fnUntraced(function* (
  query: {
    readonly from?: string | undefined
    readonly to?: string | undefined
    readonly group_by?: string | undefined
    readonly model?: string | undefined
    readonly key?: string | undefined
  },
  now: number
): Effect.fn.Return<UsageQuery, ApiError.ApiError> {
  const groupBy = yield* readGroupings(query.group_by)
  const to = Math.ceil(((yield* readTime("to", query.to)) ?? now + 1) / HOUR) * HOUR
  const from = Math.floor(((yield* readTime("from", query.from)) ?? to - USUAL_DAYS * DAY) / HOUR) * HOUR
  if (from >= to) return yield* Effect.fail(ApiError.invalid("`from` must be before `to`.", "from"))
  const most = groupBy.includes("hour") ? MOST_DAYS_BY_HOUR : MOST_DAYS
  if (to - from > most * DAY + HOUR) {
    const message = `The range may be at most ${most} days${groupBy.includes("hour") ? " by hour" : ""}.`
    return yield* Effect.fail(ApiError.invalid(message, "from", "PARAMETER_OUT_OF_RANGE"))
  }
  return { groupBy, from, to, model: query.model, key: query.key }
})
