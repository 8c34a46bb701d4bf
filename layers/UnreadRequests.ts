/**
 * Answers to what never becomes a request: bytes that are no HTTP, headers that are too large or too slow, uploads that stand
 * still. In the shape of every other failure, with a name of its own.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import { type Server, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import * as ApiError from "../src/http/ApiError.ts"
import { answerOn } from "./Underway.ts"

const late = ApiError.make(408, "REQUEST_TIMEOUT", "The request did not come in time.")
const large = ApiError.make(431, "HEADERS_TOO_LARGE", "The headers are larger than 16 KiB.")
const malformed = ApiError.make(400, "MALFORMED_REQUEST", "This is not an HTTP request that can be read.")

const failureOf = (error: Error): ApiError.ApiError => {
  const code = "code" in error ? error.code : null
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return late
  return code === "HPE_HEADER_OVERFLOW" ? large : malformed
}

const textOf = (failure: ApiError.ApiError): string => {
  const body = JSON.stringify(ApiError.openAiBody(failure))
  return [
    `HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status] ?? ""}`,
    `x-request-id: ${randomUUID()}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
    "",
    body
  ].join("\r\n")
}

/** Milliseconds for a caller to read why the connection ends: closed with bytes of his unread, it would be reset at once. */
const LINGER = 500

const end = (socket: Duplex, failure: ApiError.ApiError): void => {
  socket.end(textOf(failure))
  setTimeout(() => socket.destroy(), LINGER).unref()
}

/** Says on a connection that its request did not come in time, and ends it. @category running @since 0.1.0 */
export const endLate = (socket: Duplex): void => end(socket, late)

/** Answers whatever a server cannot read. @category running @since 0.1.0 */
export const answer = (server: Server): void => {
  server.on("clientError", (error, socket) => {
    // An answer that has begun cannot be followed by another.
    if (answerOn(socket)?.headersSent === true || !socket.writable) socket.destroy()
    else end(socket, failureOf(error))
  })
  server.on("checkExpectation", (_, response) => {
    const failure = ApiError.make(417, "EXPECTATION_FAILED", "Only `Expect: 100-continue` is understood.")
    response.writeHead(failure.status, { "x-request-id": randomUUID(), "content-type": "application/json" })
    response.end(JSON.stringify(ApiError.openAiBody(failure)))
  })
}
