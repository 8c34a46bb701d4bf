/**
 * Text to bytes for the wire, many small pieces out of one large buffer: a buffer for each piece costs more than its text.
 *
 * @since 0.1.0
 */

/** Bytes that pieces are cut from before the next are taken. */
const SLAB = 32_768

/** A character of UTF-16 takes three bytes of UTF-8, at most. */
const WIDEST = 3

/** Never writes over what it gave. @category encoding @since 0.1.0 */
export class Utf8Encoder {
  private readonly encoder = new TextEncoder()
  private slab = new Uint8Array(0)
  private at = 0

  encode(text: string): Uint8Array {
    const most = text.length * WIDEST
    if (most > SLAB / 4) return this.encoder.encode(text)
    if (this.at + most > this.slab.length) {
      this.slab = new Uint8Array(SLAB)
      this.at = 0
    }
    const { written } = this.encoder.encodeInto(text, this.slab.subarray(this.at))
    const piece = this.slab.subarray(this.at, this.at + written)
    this.at += written
    return piece
  }
}
