/**
 * An actor: state of its own, one message at a time, a snapshot that anybody may read without waiting.
 *
 * Its turn is taken at once, in the caller's step: one thread is the mailbox, so a message that was told is seen by the
 * very next read. What a turn decides to do beside is the handler's to hand to a fiber.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export interface Actor<State, Message> {
  /** Takes a message. One told from inside a turn waits for that turn's end. */
  readonly tell: (message: Message) => void
  /** The state after the last whole turn. */
  readonly snapshot: () => State
}

/**
 * An actor over a pure turn. A turn that throws changes nothing, and the error goes to whoever told the message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <State, Message>(options: {
  readonly initial: State
  readonly receive: (state: State, message: Message) => State
  /** Messages that may wait for a turn to end; more is a handler that tells itself without end. */
  readonly mailboxSize?: number
}): Actor<State, Message> => {
  const bound = options.mailboxSize ?? 1_024
  const mailbox: Array<Message> = []
  let state = options.initial
  let busy = false
  const tell = (message: Message): void => {
    if (mailbox.length >= bound) throw new Error("the actor's mailbox is full")
    mailbox.push(message)
    if (busy) return
    busy = true
    try {
      for (let next = mailbox.shift(); next !== undefined; next = mailbox.shift()) state = options.receive(state, next)
    } finally {
      busy = false
    }
  }
  return { tell, snapshot: () => state }
}
