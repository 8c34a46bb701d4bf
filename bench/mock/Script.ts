/**
 * How a mock provider is told to behave, for a number of calls or for one.
 */

/** Everything one call may do wrong, or otherwise. Times are milliseconds; absent: nothing special. */
export interface Script {
  /** Calls this holds for; 1 by default. In a request's own body: all, unless it has a `name` to count them by. */
  readonly times?: number
  readonly name?: string
  /** Holds only for this native model id. */
  readonly model?: string
  /** Holds only for calls in this protocol. */
  readonly protocol?: "openai" | "anthropic" | "gemini"
  /** Holds only for calls with this API key. */
  readonly apiKey?: string
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** The body of an error status. */
  readonly body?: unknown
  readonly headDelayMs?: number
  readonly firstChunkDelayMs?: number
  readonly chunkDelayMs?: number
  /** Never goes on, at that point. */
  readonly hang?: "head" | "first_chunk" | "mid"
  /** Destroys the socket, at that point. */
  readonly reset?: "head" | "after_head" | "mid"
  /** Chunks before `hang: mid`, `reset: mid`, `cut`, `malformed` or `errorEvent`. */
  readonly after?: number
  /** Ends cleanly in the middle, without finish reason and `[DONE]`. */
  readonly cut?: boolean
  readonly empty?: boolean
  readonly noDone?: boolean
  readonly noUsage?: boolean
  readonly malformed?: boolean
  readonly errorEvent?: boolean
  readonly afterDone?: boolean
  readonly contentType?: string
  /** The bytes of a 200, whatever was asked for. */
  readonly raw?: string
  /** An answer's beginning at the end of the request is passed over: the text begins anew. */
  readonly restarts?: boolean
  /** How the bytes of a stream are written. */
  readonly framing?: "bytes" | "crlf" | "comments" | "multiline"
  readonly extraFields?: boolean
  /** In the shape of the protocol. */
  readonly usage?: Readonly<Record<string, unknown>>
  readonly text?: string
  readonly chunks?: number
  /** The finish reason, in the words of the protocol. */
  readonly finish?: string
  readonly stopSequence?: string
  /** Thoughts before the answer, signed where the protocol has signatures. */
  readonly thinking?: string
  /** Anthropic: a thought that only its provider can read. */
  readonly redactedThinking?: string
  /** Gemini: the prompt is refused for this. */
  readonly blockReason?: string
  readonly safetyRatings?: ReadonlyArray<Readonly<Record<string, unknown>>>
  /** Images of an answer, instead of as many as were asked for. */
  readonly images?: number
  /** How long a recording is said to last. */
  readonly seconds?: number
  /** Vectors are numbers, whatever was asked for. */
  readonly ignoresEncoding?: boolean
  readonly toolCalls?: ReadonlyArray<{ readonly name: string; readonly arguments: string }>
}

/** What a mock provider saw of one call. Times are epoch milliseconds. */
export interface Call {
  readonly protocol: "openai" | "anthropic" | "gemini"
  /** The native model id, wherever the protocol puts it. */
  readonly model: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: Readonly<Record<string, unknown>>
  readonly startedAt: number
  /** When the caller went away before the answer's end. */
  abortedAt: number | null
  endedAt: number | null
}
