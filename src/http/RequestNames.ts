/**
 * Names of requests: UUIDs of version 7, each after the one before it.
 *
 * Every request takes one, so that it is put together of parts that hold for long, and random bytes are taken many at once.
 *
 * @since 0.1.0
 */

/** Random bytes that {@link RequestNames} takes at once. @category constants @since 0.1.0 */
export const RANDOM_BYTES = 4_096

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const hex = (byte: number): string => HEX[byte] ?? "00"

const hex16 = (value: number): string => hex(value >>> 8) + hex(value & 0xff)

/** Random bytes of one name, and those that its counter starts with: the lower part each millisecond, the upper for longer. */
const TAIL = 4
const LOWER = 2
const UPPER = 4

/** The counter's upper and lower part. */
const UPPER_BITS = 26
const LOWER_BITS = 16

/**
 * As RFC 9562 has it (method 1): the time, a counter of 42 bits that starts somewhere each millisecond, and 32 bits by chance.
 * Names say in which order they were given, so that they are no secrets.
 *
 * @category models
 * @since 0.1.0
 */
export class RequestNames {
  private random = new Uint8Array(0)
  private at = 0
  private time = -1
  private upper = 0
  private lower = 0
  /** What the counter's upper part makes of a name, and whether it is to be drawn anew. */
  private middle = ""
  private isUsed = true
  /** The first eight digits, which hold for a minute, and the time that they stand for. */
  private minute = ""
  private minuteOf = -1
  /** What all names of this time and of the counter's upper part begin with. */
  private head = ""

  /** Takes random bytes: at least as many as {@link RANDOM_BYTES}. */
  fill(random: Uint8Array): void {
    this.random = random.slice()
    this.at = 0
    this.isUsed = true
  }

  /** Null: there are no random bytes left. `now`: epoch milliseconds. */
  next(now: number): string | null {
    if (this.at + LOWER + UPPER + TAIL > this.random.length) return null
    if (now > this.time) this.startAt(now)
    else this.count()
    return this.head + hex16(this.lower) + hex(this.byte()) + hex(this.byte()) + hex(this.byte()) + hex(this.byte())
  }

  private startAt(time: number): void {
    this.time = time
    // The uppermost bits of both parts are left for counting.
    if (this.isUsed) {
      this.isUsed = false
      this.turn(((this.byte() & 0x01) << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte())
    }
    this.lower = ((this.byte() & 0x7f) << 8) | this.byte()
    const minute = Math.floor(time / 2 ** 16)
    if (minute !== this.minuteOf) {
      this.minuteOf = minute
      this.minute = `${minute.toString(16).padStart(8, "0")}-`
    }
    this.head = this.minute + hex16(time % 2 ** 16) + this.middle
  }

  private count(): void {
    if (++this.lower < 2 ** LOWER_BITS) return
    if (this.upper + 1 === 2 ** UPPER_BITS) {
      this.isUsed = true
      this.startAt(this.time + 1)
      return
    }
    this.lower = 0
    this.turn(this.upper + 1)
    this.head = this.minute + hex16(this.time % 2 ** 16) + this.middle
  }

  private turn(upper: number): void {
    this.upper = upper
    this.middle = `-${hex16(0x70_00 | (upper >>> 14))}-${hex16(0x80_00 | (upper & 0x3f_ff))}-`
  }

  private byte(): number {
    return this.random[this.at++] ?? 0
  }
}
