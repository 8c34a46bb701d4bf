/**
 * Server-sent events out of bytes, whatever pieces they come in.
 *
 * @since 0.1.0
 */

/** One event: its name (empty for the usual `message`) and its data lines joined by newlines. @category models @since 0.1.0 */
export interface SseEvent {
  readonly event: string
  readonly data: string
}

const DATA = "data: "

/** Characters that one event may have before the stream is called malformed. */
const MAX_EVENT = 8 * 1_024 * 1_024

/**
 * A parser for one stream. `push` gives the events that a read completed; any cut of the same bytes gives the same events.
 * Takes LF, CRLF and CR, comments, several data lines, a byte order mark, split UTF-8.
 *
 * **Gotchas**: an event that no blank line ends is given by `end`, as providers forget the last one.
 *
 * @category parsers
 * @since 0.1.0
 */
export class SseParser {
  private readonly decoder = new TextDecoder("utf-8")
  private buffer = ""
  private event = ""
  private data: string | null = null
  /** The last line ended in CR at the very end of a read: an LF that follows belongs to it. */
  private afterCr = false
  /** An event grew past every bound: nothing more is read. */
  overflowed = false

  push(bytes: Uint8Array): ReadonlyArray<SseEvent> {
    return this.read(this.decoder.decode(bytes, { stream: true }))
  }

  end(): ReadonlyArray<SseEvent> {
    const events = [...this.read(this.decoder.decode())]
    if (this.buffer !== "") this.line(this.buffer)
    this.buffer = ""
    if (this.data !== null) events.push({ event: this.event, data: this.data })
    this.data = null
    return events
  }

  private read(text: string): ReadonlyArray<SseEvent> {
    if (text === "" || this.overflowed) return []
    let input = text
    if (this.afterCr && input.charCodeAt(0) === 10) input = input.slice(1)
    this.afterCr = false
    const source = this.buffer + input
    const events: Array<SseEvent> = []
    let start = 0
    // Nearly nobody ends lines with CR; where there is none, none is looked for again.
    let cr = source.indexOf("\r", this.buffer.length)
    let lf = source.indexOf("\n", this.buffer.length)
    while (lf !== -1 || cr !== -1) {
      const isCr = cr !== -1 && (lf === -1 || cr < lf)
      const at = isCr ? cr : lf
      const event = this.line(source.slice(start, at))
      if (event !== null) events.push(event)
      start = at + 1
      if (isCr) {
        if (start === source.length) this.afterCr = true
        else if (source.charCodeAt(start) === 10) start++
        cr = source.indexOf("\r", start)
      }
      if (lf !== -1 && lf < start) lf = source.indexOf("\n", start)
    }
    this.buffer = start === 0 ? source : source.slice(start)
    if (this.buffer.length + (this.data?.length ?? 0) > MAX_EVENT) {
      this.overflowed = true
      this.buffer = ""
      this.data = null
    }
    return events
  }

  /** Takes one line; a blank one ends an event. */
  private line(line: string): SseEvent | null {
    if (line === "") {
      const complete = this.data === null ? null : { event: this.event, data: this.data }
      this.event = ""
      this.data = null
      return complete
    }
    // What nearly every line is.
    if (line.startsWith(DATA)) {
      this.add(line.slice(DATA.length))
      return null
    }
    const colon = line.indexOf(":")
    if (colon === 0) return null
    const field = colon === -1 ? line : line.slice(0, colon)
    let value = colon === -1 ? "" : line.slice(colon + 1)
    if (value.charCodeAt(0) === 32) value = value.slice(1)
    if (field === "data") this.add(value)
    else if (field === "event") this.event = value
    return null
  }

  private add(value: string): void {
    this.data = this.data === null ? value : `${this.data}\n${value}`
  }
}
