/**
 * Answers in the form that was asked for. A whole answer that does not match its JSON Schema is asked for once more, its
 * error named; what still does not match is a failure that says where.
 *
 * The caller pays for the answer that matched; the one before it is the gateway's.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Stream } from "effect"
import type { Turn } from "../../schemas/Conversation.ts"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import type { Candidate } from "../../schemas/Model.ts"
import * as JsonMode from "../streams/JsonMode.ts"
import { JsonSchemas } from "../streams/JsonSchemas.ts"
import * as Source from "../streams/Source.ts"
import { type AttemptLog, noteForm } from "./AttemptLog.ts"
import { AllProvidersFailed, Failover, type FailoverRequest } from "./Failover.ts"

/** @category services @since 0.1.0 */
export class StructuredAnswers extends Context.Service<StructuredAnswers, Failover["Service"]>()("sluice/providers/StructuredAnswers") {
  static readonly layer: Layer.Layer<StructuredAnswers, never, Failover | JsonSchemas> = Layer.effect(
    this,
    Effect.gen(function* () {
      return make(yield* Failover, yield* JsonSchemas)
    })
  )
}

const textTurn = (role: Turn["role"], text: string): Turn => ({ role, parts: [{ _tag: "Text", text }] })

const textOf = (events: ReadonlyArray<InferenceEvent>): string => events.map((event) => (event._tag === "Text" ? event.text : "")).join("")

/** The same request, with the answer that was given and what is wrong with it. */
const askAgain = (request: InferenceRequest, given: string, problem: string): InferenceRequest => {
  const asked = `${problem} Answer again: the whole answer, as JSON only, matching the schema.`
  const messages = [
    { role: "assistant", content: given },
    { role: "user", content: asked }
  ]
  const { body } = request
  return {
    ...request,
    body: Json.isArray(body["messages"]) ? { ...body, messages: [...body["messages"], ...messages] } : body,
    conversation: () => {
      const before = request.conversation()
      return { ...before, turns: [...before.turns, textTurn("assistant", given), textTurn("user", asked)] }
    },
    promptCharacters: request.promptCharacters + given.length + asked.length
  }
}

interface Sent {
  readonly candidate: Candidate
  readonly events: ReadonlyArray<InferenceEvent>
}

const make = (failover: Failover["Service"], schemas: JsonSchemas["Service"]): Failover["Service"] => {
  const judge = (log: AttemptLog, format: JsonMode.JsonFormat, sent: Sent) => {
    const judged = new JsonMode.JsonGuard((text) => JsonMode.problemOf(format, schemas, text)).push(sent.events)
    noteForm(log, judged.problem === null)
    return judged
  }

  const fail = (format: JsonMode.JsonFormat, sent: Sent, problem: string) =>
    new AllProvidersFailed({ last: JsonMode.failure(format, sent.candidate.provider, problem), retryAfterMs: null })

  /** The one attempt to mend an answer. A provider that fails now leaves the answer as wrong as it was. */
  const mend = Effect.fnUntraced(function* (request: FailoverRequest, format: JsonMode.JsonFormat, sent: Sent, problem: string) {
    const again = askAgain(request.request, textOf(sent.events), problem)
    const mended = yield* failover
      .send({ ...request, request: again, candidates: [sent.candidate] })
      .pipe(Effect.mapError(() => fail(format, sent, problem)))
    const judged = judge(request.log, format, mended)
    return judged.problem === null ? { ...mended, events: judged.events } : yield* fail(format, mended, judged.problem)
  })

  const structured = Effect.fnUntraced(function* (request: FailoverRequest, format: JsonMode.JsonFormat) {
    const sent = yield* failover.send(request)
    const { events, problem } = judge(request.log, format, sent)
    if (problem === null) return { ...sent, events }
    if (format._tag === "Json" || request.request.choices > 1) return yield* fail(format, sent, problem)
    return yield* mend(request, format, sent, problem)
  })

  const send: Failover["Service"]["send"] = (request) => {
    const format = JsonMode.formatOf(request.request)
    return format === null ? failover.send(request) : structured(request, format)
  }

  const stream: Failover["Service"]["stream"] = (request) => {
    const format = JsonMode.formatOf(request.request)
    if (format === null) return failover.stream(request)
    return Effect.flatMap(failover.stream(request), (opened) => {
      const noted = (inForm: boolean) => Effect.sync(() => noteForm(request.log, inForm))
      const events = Source.toStream(opened.source).pipe(
        JsonMode.checkStream(format, opened.candidate.provider, schemas),
        // A provider that failed has it written on its attempt already: that is not looked at here.
        Stream.tapError(() => noted(false)),
        Stream.concat(Stream.drain(Stream.fromEffect(noted(true))))
      )
      return Effect.map(Source.fromStream(events), (source) => ({ ...opened, source }))
    })
  }

  return { send, stream }
}
