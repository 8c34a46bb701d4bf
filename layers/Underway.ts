/**
 * What is under way on a connection, by Node's own notes on its socket. A table of ours beside them would keep the last request and
 * answer of every connection alive, with all that hangs on them, and cost each request an entry.
 *
 * @since 0.1.0
 */
import { IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"

/** The answer that is written, or that is waited for; null when the last was sent to its end. @category running @since 0.1.0 */
export const answerOn = (socket: Duplex): ServerResponse | null =>
  "_httpMessage" in socket && socket._httpMessage instanceof ServerResponse ? socket._httpMessage : null

/** The request that came last; null when it was read and answered. @category running @since 0.1.0 */
export const requestOn = (socket: Duplex): IncomingMessage | null => {
  const parser = "parser" in socket ? socket.parser : null
  if (typeof parser !== "object" || parser === null || !("incoming" in parser)) return null
  return parser.incoming instanceof IncomingMessage ? parser.incoming : null
}
