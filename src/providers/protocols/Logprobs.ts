/**
 * Log probabilities where a provider has none: chat's answer is `null` there, with a note, so the question is left out
 * instead of failing the request. Which models have them no list of ours says well enough; the provider's refusal does.
 *
 * @since 0.1.0
 */
import type { ProviderError } from "../../../schemas/Provider.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"

/** @category predicates @since 0.1.0 */
export const asksLogprobs = ({ request }: ProviderCall): boolean => request.protocol === "openai-chat" && request.body["logprobs"] === true

/** What providers answer where log probabilities are what they object to. A 422 names the field in forms that differ. @category predicates @since 0.1.0 */
export const refusesLogprobs = ({ reason }: ProviderError): boolean => {
  if (reason._tag !== "ProviderStatus") return false
  const { message, param, status } = reason
  return status === 422 || (status === 400 && /log[_ -]?prob/i.test(`${param} ${message}`))
}

/** @category encoding @since 0.1.0 */
export const withoutLogprobs = (call: ProviderCall): ProviderCall => {
  const { logprobs: _, top_logprobs: __, ...body } = call.request.body
  const conversation = () => {
    const asked = call.request.conversation()
    return { ...asked, sampling: { ...asked.sampling, logprobs: false, topLogprobs: null } }
  }
  return { ...call, request: { ...call.request, body, conversation } }
}
