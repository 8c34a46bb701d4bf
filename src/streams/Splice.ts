/**
 * Where one answer goes on in another: what the second repeats of the first is cut.
 *
 * @since 0.1.0
 */

/** As many characters as two texts may begin alike without one being the other begun anew. */
const COINCIDENCE = 24

/** How far back the second may go to take up the thread. */
const WINDOW = 512

/** An overlap is shorter than this only where the second begins in the middle of a line of the first. */
const SENTENCE = 12
const WORD = 3

const isWordCharacter = (character: string | undefined): boolean => character !== undefined && /[\p{L}\p{N}_]/u.test(character)

const commonPrefix = (a: string, b: string): number => {
  const most = Math.min(a.length, b.length)
  let length = 0
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++
  return length
}

/**
 * Takes a continuation piece by piece and gives what of it comes after the text that was sent. The continuation was asked
 * for with the text up to its last visible character, so it may bring the white space after that once more.
 *
 * It may also begin the whole text anew, or its last words: that is cut. One that begins the text anew and then leaves it
 * cannot be joined: `isRestart` is true from then on, and nothing more is given.
 *
 * @category models
 * @since 0.1.0
 */
export class Splice {
  private readonly start: string
  private readonly tail: string
  private readonly space: string
  private held = ""
  private joined = false
  /** The continuation is another text. */
  isRestart = false
  /** Visible characters of the continuation that were cut as a repetition. */
  repeated = 0

  constructor(sent: string) {
    const body = sent.trimEnd()
    this.space = sent.slice(body.length)
    this.start = body.trimStart()
    this.tail = body.slice(-WINDOW)
  }

  push(text: string): string {
    if (this.joined) return text
    this.held += text
    return this.join(false)
  }

  /** The continuation has ended: gives what was still held back. */
  end(): string {
    return this.joined ? "" : this.join(true)
  }

  private join(isLast: boolean): string {
    if (this.isRestart) return ""
    if (this.start === "") return this.afterBody(this.held, isLast)
    const visible = this.held.trimStart()
    if (visible === "") return isLast ? this.afterBody(this.held, true) : ""
    if (visible.startsWith(this.start)) {
      this.repeated = this.start.length
      return this.afterBody(visible.slice(this.start.length), isLast)
    }
    const alike = commonPrefix(visible, this.start)
    if (alike === visible.length && !isLast) return ""
    if (alike >= Math.min(COINCIDENCE, Math.max(8, Math.ceil(this.start.length * 0.6)))) {
      this.isRestart = true
      return ""
    }
    if (!isLast && this.mayOverlap(visible)) return ""
    this.repeated = this.overlap(visible, visible.length < this.held.length)
    return this.afterBody(this.repeated === 0 ? this.held : visible.slice(this.repeated), isLast)
  }

  /** What follows the last visible character of the text, without the white space that was sent already. */
  private afterBody(rest: string, isLast: boolean): string {
    const again = commonPrefix(rest, this.space)
    if (again === rest.length && again < this.space.length && !isLast) return ""
    return this.give(rest.slice(again))
  }

  private give(text: string): string {
    this.joined = true
    this.held = ""
    return text
  }

  /** Whether words begin there. */
  private beginsAt(index: number): boolean {
    return isWordCharacter(this.tail[index]) && !isWordCharacter(this.tail[index - 1])
  }

  /** Whether the text's last words may be what the continuation is repeating so far. */
  private mayOverlap(visible: string): boolean {
    for (let at = this.tail.indexOf(visible); at !== -1; at = this.tail.indexOf(visible, at + 1)) {
      if (this.beginsAt(at)) return true
    }
    return false
  }

  /** How many characters of the continuation are the text's last words once more. */
  private overlap(visible: string, isApart: boolean): number {
    for (let length = Math.min(visible.length, this.tail.length); length >= WORD; length--) {
      const words = visible.slice(0, length)
      if (!this.tail.endsWith(words) || !this.beginsAt(this.tail.length - length)) continue
      // After white space a word or two may well be said twice.
      return !isApart || (length >= SENTENCE && words.split(" ").length > 2) ? length : 0
    }
    return 0
  }
}
