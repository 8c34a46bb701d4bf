/**
 * OpenAI's transcriptions on the wire. Fields not named here reach the provider untouched.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** Forms of a transcript: `text`, `srt` and `vtt` are answered as text, not as JSON. @category schemas @since 0.1.0 */
export const TranscriptFormat = Schema.Literals(["json", "text", "srt", "verbose_json", "vtt"])

/** The fields of the form of `POST /v1/audio/transcriptions`, in any order. @category schemas @since 0.1.0 */
export const TranscriptionRequest = Schema.Struct({
  file: Schema.String.annotate({ description: "The recording: flac, m4a, mp3, mp4, mpeg, mpga, ogg, wav or webm.", format: "binary" }),
  model: Schema.String,
  language: Schema.optional(Schema.String),
  prompt: Schema.optional(Schema.String),
  response_format: Schema.optional(TranscriptFormat),
  temperature: Schema.optional(Schema.Finite),
  "timestamp_granularities[]": Schema.optional(Schema.Array(Schema.String))
}).annotate({ identifier: "TranscriptionRequest" })

/** The answer as `json`; `verbose_json` adds `task`, `language`, `duration`, `segments` and `words`. @category schemas @since 0.1.0 */
export const Transcription = Schema.StructWithRest(
  Schema.Struct({
    text: Schema.String,
    usage: Schema.optional(Schema.Struct({ type: Schema.Literal("duration"), seconds: Schema.Finite }))
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
).annotate({ identifier: "Transcription" })
