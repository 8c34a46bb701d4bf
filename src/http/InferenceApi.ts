/**
 * The routes of inference.
 *
 * @since 0.1.0
 */
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { CountTokensRequest, Message, MessagesError, MessagesRequest, TokenCount } from "../../schemas/wire/Anthropic.ts"
import { Transcription, TranscriptionRequest } from "../../schemas/wire/OpenAiAudio.ts"
import { ChatCompletion, ChatCompletionRequest } from "../../schemas/wire/OpenAiChat.ts"
import { EmbeddingList, EmbeddingRequest } from "../../schemas/wire/OpenAiEmbeddings.ts"
import { ImageList, ImageRequest } from "../../schemas/wire/OpenAiImages.ts"
import { ResponseObject, ResponsesRequest } from "../../schemas/wire/OpenAiResponses.ts"
import { failures, statuses } from "./ApiShapes.ts"

const messagesFailures = statuses.map((status) => MessagesError.annotate({ httpApiStatus: status }))

/** @category models @since 0.1.0 */
export const InferenceApi = HttpApiGroup.make("inference").add(
  HttpApiEndpoint.post("chatCompletions", "/v1/chat/completions", {
    payload: ChatCompletionRequest,
    success: ChatCompletion,
    error: failures
  }),
  HttpApiEndpoint.post("embeddings", "/v1/embeddings", { payload: EmbeddingRequest, success: EmbeddingList, error: failures }),
  HttpApiEndpoint.post("images", "/v1/images/generations", { payload: ImageRequest, success: ImageList, error: failures }),
  HttpApiEndpoint.post("transcriptions", "/v1/audio/transcriptions", {
    payload: TranscriptionRequest.pipe(HttpApiSchema.asMultipart()),
    success: Transcription,
    error: failures
  }),
  HttpApiEndpoint.post("messages", "/v1/messages", { payload: MessagesRequest, success: Message, error: messagesFailures }),
  HttpApiEndpoint.post("countTokens", "/v1/messages/count_tokens", {
    payload: CountTokensRequest,
    success: TokenCount,
    error: messagesFailures
  }),
  HttpApiEndpoint.post("responses", "/v1/responses", { payload: ResponsesRequest, success: ResponseObject, error: failures })
)
