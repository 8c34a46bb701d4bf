/**
 * What guardrails look for: personal data, attempts to take a model over, and topics.
 *
 * **Gotchas**: forms, not meanings. An address that is spelt out, a number in words, another script's digits are not found.
 *
 * @since 0.1.0
 */
import type { PiiKind } from "../../schemas/Guardrail.ts"
import { byExpression, type Pattern } from "./TextScanner.ts"

const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isLetter = (code: number): boolean => (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
const oneOf =
  (characters: string) =>
  (code: number): boolean =>
    characters.includes(String.fromCharCode(code))
const isInLocal = oneOf("._%+-'")
const isInNumber = oneOf(" -.()+")

/** Luhn's check of the first so many of some digits. @category predicates @since 0.1.0 */
export const isLuhn = (digits: ReadonlyArray<number>, length = digits.length): boolean => {
  let sum = 0
  for (let i = 0; i < length; i++) {
    const digit = digits[length - 1 - i] ?? 0
    const doubled = i % 2 === 1 ? digit * 2 : digit
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return sum > 0 && sum % 10 === 0
}

/** The longest part, from the start and ending where a group does, that is a card's number. */
const cardLength = (match: string): number => {
  const digits: Array<number> = []
  let longest = 0
  for (let at = 0; at < match.length; at++) {
    const code = match.charCodeAt(at)
    if (!isDigit(code)) continue
    digits.push(code - 48)
    if (digits.length >= 13 && !isDigit(match.charCodeAt(at + 1)) && isLuhn(digits)) longest = at + 1
  }
  return longest
}

const isLocal = (code: number): boolean => isDigit(code) || isLetter(code) || isInLocal(code)
const MAX_LOCAL = 64
const domain = /@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}/y

/** Looks for the sign first: long words without one cost nothing. */
const findEmail: Pattern["find"] = (text, from) => {
  for (let at = text.indexOf("@", from); at !== -1; at = text.indexOf("@", at + 1)) {
    const least = Math.max(from, at - MAX_LOCAL)
    let start = at
    while (start > least && isLocal(text.charCodeAt(start - 1))) start--
    domain.lastIndex = at
    const match = start < at ? domain.exec(text) : null
    if (match !== null) return [start, at + match[0].length]
  }
  return null
}

const personal: Readonly<Record<PiiKind, () => Pattern>> = {
  email: () => ({
    kind: "email",
    find: findEmail,
    longest: MAX_LOCAL + 1 + 4 * 64 + 24,
    consistsOf: (code) => code === 64 || isLocal(code)
  }),
  card: () => ({
    kind: "card",
    find: byExpression(/(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])/g, cardLength),
    longest: 37,
    consistsOf: (code) => isDigit(code) || isInNumber(code)
  }),
  ssn: () => ({
    kind: "ssn",
    find: byExpression(/(?<![0-9-])(?!000|666|9[0-9]{2})[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9-])/g),
    longest: 11,
    consistsOf: (code) => isDigit(code) || isInNumber(code)
  }),
  phone: () => ({
    kind: "phone",
    find: byExpression(
      /(?<![0-9A-Za-z.])(?:\+[1-9](?:[ .()-]{0,2}[0-9]){7,14}|(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4})(?![0-9])/g
    ),
    longest: 2 + 14 * 3,
    consistsOf: (code) => isDigit(code) || isInNumber(code)
  })
}

const kinds: ReadonlyArray<PiiKind> = ["email", "card", "ssn", "phone"]

/** Patterns of personal data; of all kinds when none is named. Made for one use: expressions remember where they stand. @category constructors @since 0.1.0 */
export const pii = (wanted: ReadonlyArray<PiiKind> = kinds): ReadonlyArray<Pattern> =>
  kinds.filter((kind) => wanted.includes(kind)).map((kind) => personal[kind]())

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
const isWord = (character: string | undefined): boolean => character !== undefined && /[\p{L}\p{N}_]/u.test(character)

const phrase = (text: string): string => {
  const before = isWord(text[0]) ? "(?<![\\p{L}\\p{N}_])" : ""
  const after = isWord(text.at(-1)) ? "(?![\\p{L}\\p{N}_])" : ""
  return `${before}${text.split(/\s+/).map(escape).join("\\s")}${after}`
}

/** Any of some words or phrases, in any letter case, with one blank or line end between words; none for none. @category constructors @since 0.1.0 */
export const phrases = (wanted: ReadonlyArray<string> = []): ReadonlyArray<Pattern> => {
  const texts = wanted.map((text) => text.trim()).filter((text) => text !== "")
  if (texts.length === 0) return []
  const longest = Math.max(...texts.map((text) => text.length))
  return [
    {
      kind: "topic",
      find: byExpression(new RegExp(texts.map(phrase).join("|"), "giu")),
      // What stands beyond may take two places, and so may a letter in its other case.
      longest: longest * 2 + 1,
      consistsOf: () => true
    }
  ]
}

/** Ways in which a text tries to make a model forget whose instructions it follows. */
const injections: ReadonlyArray<RegExp> = [
  /\b(?:ignore|disregard|forget|override|bypass)\s+(?:all\s+|any\s+|every(?:thing)?\s+)?(?:of\s+)?(?:(?:the|your|my|these|those)\s+)?(?:(?:previous|prior|above|earlier|preceding|existing|original|system)\s+)+(?:instructions?|prompts?|rules?|messages?|directions?|guidelines?|context)/i,
  /\b(?:ignore|disregard|forget)\s+(?:all\s+)?(?:(?:of\s+)?(?:the|your)\s+)?(?:instructions?|rules|guidelines|programming)\b/i,
  /\b(?:reveal|show|print|repeat|output|leak|tell\s+me|what\s+(?:is|are))\s+(?:me\s+)?(?:your|the)\s+(?:(?:hidden|secret|initial|original|full|entire|exact)\s+)*(?:system\s+(?:prompt|message|instructions?)|initial\s+(?:prompt|instructions?))/i,
  /\byou\s+are\s+now\s+(?:in\s+)?(?:DAN\b|developer\s+mode|jailbroken|unrestricted|an?\s+unrestricted|free\s+from)/i,
  /\b(?:enable|enter|activate|switch\s+to)\s+(?:developer|god|jailbreak|DAN|unrestricted)\s+mode\b/i,
  /\bdo\s+anything\s+now\b/i,
  /\b(?:pretend|act|behave|respond)\s+(?:as\s+if|like|that)?\s*(?:you\s+)?(?:have|had|with|are\s+under)\s+no\s+(?:rules|restrictions|limits|limitations|filters?|guidelines|ethics)\b/i,
  /<\|(?:im_start|im_end|system|endoftext)\|>|\[\/?INST\]|<<\/?SYS>>|<\/?system>/i,
  /^[ \t]*(?:#{1,6}[ \t]*)?(?:new|updated|real)\s+(?:system\s+)?instructions?\s*:/im
]

/** Whether a text tries to take a model over. @category predicates @since 0.1.0 */
export const isInjection = (text: string): boolean => injections.some((expression) => expression.test(text))
