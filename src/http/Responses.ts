/**
 * Answers to inference requests as responses. A server that can write head and body as they are says so: a response of the usual
 * kind copies its headers several times, and a stream in it costs each read its part.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import { HttpServerResponse } from "effect/http"
import * as Source from "../streams/Source.ts"

/** What a stream is written from. @category models @since 0.1.0 */
export type Pieces = Source.Source<Uint8Array, never>

/** A whole answer, or a stream. The record of headers may be added to. @category models @since 0.1.0 */
export type Respond = (body: string | Pieces, contentType: string, headers: Record<string, string>) => HttpServerResponse.HttpServerResponse

const usual: Respond = (body, contentType, headers) =>
  typeof body === "string"
    ? HttpServerResponse.text(body, { contentType, headers })
    : HttpServerResponse.stream(Source.toStream(body), { contentType, headers })

/** How answers become responses; those that every server knows, where nobody says otherwise. @category references @since 0.1.0 */
export const Respond = Context.Reference<Respond>("sluice/http/Respond", { defaultValue: () => usual })

/** An answer that its server writes as it is: all headers, to which a length may be added, and the body. @category models @since 0.1.0 */
export class Prepared {
  readonly headers: Record<string, string>
  readonly body: string | Pieces

  constructor(headers: Record<string, string>, body: string | Pieces) {
    this.headers = headers
    this.body = body
  }
}

/** The prepared answer that a response stands for; null for one of the usual kind. @category accessors @since 0.1.0 */
export const preparedOf = ({ body }: HttpServerResponse.HttpServerResponse): Prepared | null =>
  body._tag === "Raw" && body.body instanceof Prepared ? body.body : null

/** For a server that writes what {@link preparedOf} gives. @category constructors @since 0.1.0 */
export const prepared: Respond = (body, contentType, headers) => {
  headers["content-type"] = contentType
  return HttpServerResponse.raw(new Prepared(headers, body))
}
