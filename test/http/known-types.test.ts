/**
 * What the official clients can send is taken: their own types are the list, so that a type they gain fails the type check
 * until it is known here.
 */
import type Anthropic from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type OpenAI from "openai"
import type { Json } from "../../schemas/Json.ts"
import * as Messages from "../../src/http/AnthropicRequest.ts"
import * as Responses from "../../src/http/OpenAiResponsesRequest.ts"

type BlockType = Anthropic.ContentBlockParam["type"] | Anthropic.Beta.BetaContentBlockParam["type"]

/** What each needs besides its type. */
const blocks: Readonly<Record<BlockType, object>> = {
  text: { text: "a" },
  image: { source: { type: "url", url: "https://example.com/a.png" } },
  document: { source: { type: "text", media_type: "text/plain", data: "a" } },
  thinking: { thinking: "a", signature: "s" },
  redacted_thinking: { data: "a" },
  tool_use: { id: "t", name: "f", input: {} },
  tool_result: { tool_use_id: "t" },
  search_result: {},
  server_tool_use: {},
  web_search_tool_result: {},
  web_fetch_tool_result: {},
  code_execution_tool_result: {},
  bash_code_execution_tool_result: {},
  text_editor_code_execution_tool_result: {},
  tool_search_tool_result: {},
  advisor_tool_result: {},
  mcp_tool_use: {},
  mcp_tool_result: {},
  mcp_tool_listing: {},
  tool_addition: {},
  tool_removal: {},
  container_upload: {},
  compaction: {},
  fallback: {}
}

type ResultContent = Exclude<NonNullable<Anthropic.Beta.BetaToolResultBlockParam["content"]>, string>[number]["type"]

const results: Readonly<Record<ResultContent, object>> = {
  text: { text: "" },
  image: blocks.image,
  document: blocks.document,
  search_result: {},
  tool_reference: {},
  browser_state: {}
}

const messages = (content: Json) => Messages.decodeRequest({ model: "m", max_tokens: 100, messages: [{ role: "user", content }] })

const mistake = (read: ReturnType<typeof Messages.decodeRequest>) => (Result.isFailure(read) ? read.failure : null)

describe("blocks of Anthropic's", () => {
  for (const [type, fields] of Object.entries(blocks)) {
    it(`${type} is taken`, () => {
      assert.isNull(mistake(messages([{ type, ...fields }])))
    })
  }

  for (const [type, fields] of Object.entries(results)) {
    it(`${type} is taken in the result of a tool`, () => {
      assert.isNull(mistake(messages([{ type: "tool_result", tool_use_id: "t", content: [{ type, ...fields }] }])))
    })
  }

  const mistakes: ReadonlyArray<readonly [param: string, content: Json]> = [
    ["messages.0.content.0.type", [{ type: "zip" }]],
    ["messages.0.content.0.type", [{}]],
    ["messages.0.content.0", ["a"]],
    ["messages.0.content.0.tool_result.content", [{ type: "tool_result", tool_use_id: "t", content: 5 }]],
    ["messages.0.content.0.tool_result.content.0", [{ type: "tool_result", tool_use_id: "t", content: ["a"] }]],
    ["messages.0.content.0.tool_result.content.0.type", [{ type: "tool_result", tool_use_id: "t", content: [{ type: "zip" }] }]],
    ["messages.0.content.0.tool_result.content.0.text.text", [{ type: "tool_result", tool_use_id: "t", content: [{ type: "text" }] }]]
  ]
  for (const [param, content] of mistakes) {
    it(`${param} is named in ${JSON.stringify(content)}`, () => {
      assert.deepInclude(mistake(messages(content)), { status: 400, param })
    })
  }
})

type ItemType = Exclude<NonNullable<OpenAI.Responses.ResponseInputItem["type"]>, "item_reference">

const items: Readonly<Record<ItemType, object>> = {
  message: { role: "user", content: "a" },
  reasoning: { summary: [] },
  function_call: { call_id: "c", name: "f", arguments: "{}" },
  function_call_output: { call_id: "c", output: "a" },
  custom_tool_call: {},
  custom_tool_call_output: {},
  file_search_call: {},
  web_search_call: {},
  computer_call: {},
  computer_call_output: {},
  image_generation_call: {},
  code_interpreter_call: {},
  local_shell_call: {},
  local_shell_call_output: {},
  shell_call: {},
  shell_call_output: {},
  apply_patch_call: {},
  apply_patch_call_output: {},
  tool_search_call: {},
  tool_search_output: {},
  additional_tools: {},
  configuration_update: {},
  mcp_list_tools: {},
  mcp_approval_request: {},
  mcp_approval_response: {},
  mcp_call: {},
  compaction: {},
  compaction_trigger: {},
  program: {},
  program_output: {}
}

describe("items of OpenAI's responses", () => {
  const decode = (item: Json) => Responses.decodeRequest({ model: "m", input: [item] })

  for (const [type, fields] of Object.entries(items)) {
    it(`${type} is taken`, () => {
      assert.isNull(mistake(decode({ type, ...fields })))
    })
  }

  const mistakes: ReadonlyArray<readonly [param: string, code: string, item: Json]> = [
    ["input.0.type", "PARAMETER_OUT_OF_RANGE", { type: "zip" }],
    ["input.0.type", "MISSING_REQUIRED_FIELD", {}],
    ["input.0", "INVALID_PARAMETER_TYPE", "a"],
    ["input.0.content.0", "INVALID_PARAMETER_TYPE", { role: "user", content: ["a"] }],
    ["input.0.content.0.type", "PARAMETER_OUT_OF_RANGE", { role: "user", content: [{ type: "zip" }] }],
    ["input.0.content.0.text", "MISSING_REQUIRED_FIELD", { role: "user", content: [{ type: "input_text" }] }]
  ]
  for (const [param, code, item] of mistakes) {
    it(`${param} is named in ${JSON.stringify(item)}`, () => {
      assert.deepInclude(mistake(decode(item)), { status: 400, code, param })
    })
  }
})
