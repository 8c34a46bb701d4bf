/**
 * Takes out of words what must not leave the house: keys, tokens, passwords.
 *
 * @since 0.1.0
 */
import { Cause } from "effect"

const GONE = "[redacted]"

/** A secret by its form, wherever it stands; a name before it stays. */
const forms: ReadonlyArray<readonly [RegExp, string]> = [
  // What a name or a scheme gives away.
  [/\b(bearer|basic)\s+[\w.~+/=*-]{6,}/gi, `$1 ${GONE}`],
  [
    /((?:"|')?[\w-]*(?:password|passwd|secret|api[-_]?key|access[-_]?token|id[-_]?token|refresh[-_]?token|authorization|cookie|dsn)(?:"|')?\s*[:=]\s*)(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\"(?:[^"\\]|\\[^"])*\\"|[^\s"',;&})\]]+)/gi,
    `$1${GONE}`
  ],
  // Credentials in an address: of a database, of an error tracker.
  [/(\b[a-z][a-z\d+.-]*:\/\/)[^\s/@"']+@/gi, `$1${GONE}@`],
  // Keys that say what they are.
  [/\bgw_[A-Za-z\d]+_[\w-]{6,}/g, GONE],
  [/\b(?:sk|pk|rk|whsec|xai|gsk|hf|key|ghp|r8|nvapi|fw|tgp|csk|pplx|sess)[-_][\w*-]{8,}/g, GONE],
  [/\bAIza[\w-]{20,}/g, GONE],
  // Signed tokens.
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, GONE]
]

/** A text without its secrets. @category redaction @since 0.1.0 */
export const redact = (text: string): string => {
  let clean = text
  for (const [form, instead] of forms) clean = clean.replace(form, instead)
  return clean
}

const secretName = /pass(word|wd)?$|secret|token$|authorization|api[-_]?key|cookie|dsn|^key$|private/i

const DEPTH = 12

/** A value without its secrets, as plain data: by the names of fields, and by what texts look like. @category redaction @since 0.1.0 */
export const redactValue = (value: unknown, depth = 0): unknown => {
  if (typeof value === "string") return redact(value)
  if (typeof value !== "object" || value === null) return typeof value === "bigint" ? String(value) : value
  if (depth >= DEPTH) return "[too deep]"
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, secretName.test(name) ? GONE : redactValue(item, depth + 1)])
  )
}

/** A cause whose errors say nothing secret; who was interrupted stays so. @category redaction @since 0.1.0 */
export const redactCause = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  if (cause.reasons.length === 0 || Cause.hasInterruptsOnly(cause)) return cause
  const reasons = Cause.prettyErrors(cause).map((error) => {
    const clean = new Error(redact(error.message))
    clean.name = error.name
    if (error.stack !== undefined) clean.stack = redact(error.stack)
    return Cause.makeDieReason(clean)
  })
  return Cause.fromReasons(reasons)
}
