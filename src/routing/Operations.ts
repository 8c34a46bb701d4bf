/**
 * Which models do what: chat, embeddings, images, transcription. Pure.
 *
 * @since 0.1.0
 */
import type { Operation } from "../../schemas/Inference.ts"
import type { Candidate, Model } from "../../schemas/Model.ts"
import type { ProviderDefinition } from "../../schemas/Provider.ts"

/** What a model is for, by what goes in and what comes out; null: nothing that is served. @category routing @since 0.1.0 */
export const operationOf = ({ modality }: Pick<Model, "modality">): Operation | null => {
  const arrow = modality.indexOf("->")
  if (modality.endsWith("->embedding")) return "embeddings"
  if (modality.endsWith("->image")) return "images"
  if (!modality.includes("text", arrow)) return null
  return modality.startsWith("audio->") ? "transcription" : "chat"
}

/** Whether a provider has a way in for an operation. @category routing @since 0.1.0 */
export const hasPath = (definition: ProviderDefinition, operation: Operation): boolean => {
  if (operation === "chat" || definition.protocol === "sandbox") return true
  const { embeddings, images, transcriptions } = definition.paths
  return { embeddings, images, transcription: transcriptions }[operation] !== undefined
}

const routes: Readonly<Record<Operation, { readonly what: string; readonly path: string }>> = {
  chat: { what: "chat", path: "/v1/chat/completions" },
  embeddings: { what: "embeddings", path: "/v1/embeddings" },
  images: { what: "images", path: "/v1/images/generations" },
  transcription: { what: "transcriptions", path: "/v1/audio/transcriptions" }
}

/**
 * The candidates that can do an operation, or why none can, in words for the caller.
 *
 * @category routing
 * @since 0.1.0
 */
export const forOperation = (
  candidates: ReadonlyArray<Candidate>,
  operation: Operation,
  definitionOf: (slug: string) => ProviderDefinition | undefined
): ReadonlyArray<Candidate> | string => {
  const [first] = candidates
  if (first === undefined) return candidates
  const own = operationOf(first.model)
  if (own !== operation) {
    const does = own === null ? "It is not served here." : `It is a model for ${routes[own].what}: POST ${routes[own].path}.`
    return `\`${first.model.id}\` cannot do ${routes[operation].what}. ${does}`
  }
  const isAble = (candidate: Candidate): boolean => {
    const definition = definitionOf(candidate.provider)
    return operationOf(candidate.model) === operation && definition !== undefined && hasPath(definition, operation)
  }
  if (candidates.every(isAble)) return candidates
  const able = candidates.filter(isAble)
  return able.length > 0 ? able : `No active provider of \`${first.model.id}\` can do ${routes[operation].what}.`
}
