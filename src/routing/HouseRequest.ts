/**
 * Requests that the house makes for itself, and pays for. Pure.
 *
 * @since 0.1.0
 */
import type { Conversation } from "../../schemas/Conversation.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"

const conversationOf = (text: string): Conversation => ({
  system: [],
  tools: [],
  toolChoice: null,
  parallelToolCalls: null,
  thinking: null,
  user: null,
  metadata: null,
  foreign: [],
  turns: [{ role: "user", parts: [{ _tag: "Text", text }] }],
  format: { _tag: "Text" },
  sampling: {
    temperature: null,
    topP: null,
    topK: null,
    frequencyPenalty: null,
    presencePenalty: null,
    seed: null,
    stop: [],
    logprobs: false,
    topLogprobs: null,
    logitBias: null
  }
})

const plain = (model: string, text: string) => ({
  conversation: () => conversationOf(text),
  dropUnsupported: true,
  model,
  fallbackModels: [],
  preference: null,
  stream: false,
  includeUsage: false,
  choices: 1,
  promptCharacters: text.length,
  promptImages: 0
})

/** A text to be answered in a few tokens. @category constructors @since 0.1.0 */
export const chatRequest = (model: string, text: string, maxTokens: number): InferenceRequest => ({
  ...plain(model, text),
  protocol: "openai-chat",
  operation: "chat",
  maxTokens,
  body: { model, messages: [{ role: "user", content: text }], max_tokens: maxTokens }
})

/** A text to be made a vector of. @category constructors @since 0.1.0 */
export const embeddingsRequest = (model: string, text: string): InferenceRequest => ({
  ...plain(model, text),
  protocol: "openai-embeddings",
  operation: "embeddings",
  maxTokens: null,
  body: { model, input: text }
})
