/**
 * What callers of the other public protocols call the parameters that OpenAI's chat has names for.
 *
 * @since 0.1.0
 */
import type { Protocol } from "../../../schemas/Inference.ts"

const words: Readonly<Partial<Record<Protocol, Readonly<Record<string, string>>>>> = {
  "anthropic-messages": {
    stop: "stop_sequences",
    parallel_tool_calls: "tool_choice.disable_parallel_tool_use",
    response_format: "output_config.format",
    reasoning_effort: "thinking"
  },
  "openai-responses": {
    messages: "input",
    response_format: "text.format",
    reasoning_effort: "reasoning.effort",
    max_tokens: "max_output_tokens"
  }
}

/** A parameter by the caller's own name for it. @category accessors @since 0.1.0 */
export const callersWord = (protocol: Protocol, param: string | null): string | null =>
  param === null ? null : (words[protocol]?.[param] ?? param)
