/**
 * Finds what must not pass in a text, whole or in pieces.
 *
 * **Details**: a text is read from left to right; at each place the first pattern that fits wins, and reading goes on behind
 * it. What is found therefore depends only on what follows, and on one character before: so a text that comes in pieces gives
 * the same as the whole, however it is cut, as long as the end that a longer text could change is held back.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export interface Pattern {
  readonly kind: string
  /**
   * The first match that begins at a place or behind it, as a pair of places; null for none. Looks at most one character behind
   * its start, and one beyond `longest`.
   */
  readonly find: (text: string, from: number) => readonly [number, number] | null
  /** Characters that a match can have, at most. */
  readonly longest: number
  /** Tells the characters that a match can consist of. */
  readonly consistsOf: (code: number) => boolean
}

/** @category models @since 0.1.0 */
export interface Finding {
  readonly kind: string
  readonly start: number
  readonly end: number
}

/**
 * A pattern's `find` by a global expression; `accept` says how many characters of what it matched are really one, 0 for none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const byExpression =
  (expression: RegExp, accept: (match: string) => number = (match) => match.length): Pattern["find"] =>
  (text, from) => {
    expression.lastIndex = from
    for (let match = expression.exec(text); match !== null; match = expression.exec(text)) {
      const length = accept(match[0])
      if (length > 0) return [match.index, match.index + length]
      expression.lastIndex = match.index + 1
    }
    return null
  }

const nextOf = ({ find, kind }: Pattern, text: string, from: number): Finding | null => {
  const found = find(text, from)
  return found === null ? null : { kind, start: found[0], end: found[1] }
}

/** Everything that is found from a place on, without overlaps. @category readers @since 0.1.0 */
export const scan = (patterns: ReadonlyArray<Pattern>, text: string, from = 0): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  const next = patterns.map((pattern) => nextOf(pattern, text, from))
  for (let at = from; ; ) {
    let first: Finding | null = null
    for (let i = 0; i < patterns.length; i++) {
      const pattern = patterns[i]
      const known = next[i] ?? null
      if (pattern === undefined || known === null) continue
      const finding = known.start >= at ? known : nextOf(pattern, text, at)
      next[i] = finding
      if (finding !== null && (first === null || finding.start < first.start)) first = finding
    }
    if (first === null) return found
    found.push(first)
    at = first.end
  }
}

/** The text with what was found replaced. @category formatting @since 0.1.0 */
export const replace = (
  text: string,
  findings: ReadonlyArray<Finding>,
  mask: (kind: string, found: string) => string,
  from = 0,
  to = text.length
): string => {
  let out = ""
  let at = from
  for (const { end, kind, start } of findings) {
    out += text.slice(at, start) + mask(kind, text.slice(start, end))
    at = end
  }
  return out + text.slice(at, to)
}

/** From where on a longer text could still change what is found. */
const openFrom = (patterns: ReadonlyArray<Pattern>, text: string, from: number): number => {
  let open = text.length
  for (const { consistsOf, longest } of patterns) {
    // One more than a match can have: what stands behind it decides too.
    const least = Math.max(from, text.length - longest - 1)
    let start = text.length
    while (start > least && consistsOf(text.charCodeAt(start - 1))) start--
    open = Math.min(open, start)
  }
  return open
}

/** What passed of one text that comes in pieces. @category models @since 0.1.0 */
export interface Passed {
  /** What may go on, replaced where that was asked for. */
  readonly text: string
  readonly findings: ReadonlyArray<Finding>
}

/** One text that comes in pieces; holds back only what could still turn out to be the beginning of something. @category models @since 0.1.0 */
export class TextWindow {
  private readonly patterns: ReadonlyArray<Pattern>
  private readonly mask: (kind: string, found: string) => string
  /** What is held back, behind one character that has passed (two places, where it takes them). */
  private buffer = ""
  private passed = 0

  constructor(patterns: ReadonlyArray<Pattern>, mask: (kind: string, found: string) => string) {
    this.patterns = patterns
    this.mask = mask
  }

  push(piece: string): Passed {
    this.buffer += piece
    const open = openFrom(this.patterns, this.buffer, this.passed)
    // A character of two places is not cut in half.
    const isHalf = open > 0 && (this.buffer.charCodeAt(open - 1) & 0xfc00) === 0xd800
    return this.pass(isHalf ? open - 1 : open)
  }

  /** The rest: nothing follows. */
  end(): Passed {
    return this.pass(this.buffer.length)
  }

  private pass(until: number): Passed {
    const from = this.passed
    if (until <= from) return { text: "", findings: [] }
    let to = until
    const findings: Array<Finding> = []
    for (const finding of scan(this.patterns, this.buffer, from)) {
      if (finding.start >= to) break
      // It begins before the open end and reaches into it: all of it waits.
      if (finding.end > to) to = finding.start
      else findings.push(finding)
    }
    const text = replace(this.buffer, findings, this.mask, from, to)
    if (to > from) {
      this.passed = Math.min(2, to)
      this.buffer = this.buffer.slice(to - this.passed)
    }
    return { text, findings }
  }
}
