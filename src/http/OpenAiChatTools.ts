/**
 * Mistakes in what the body of `POST /v1/chat/completions` says of tools: those offered, their choice, and the calls of
 * turns before.
 *
 * @since 0.1.0
 */
import * as Json from "../../schemas/Json.ts"
import {
  type Flaw,
  mayBeBoolean,
  mayBeObject,
  mayBeString,
  needsName,
  needsNamed,
  needsString,
  noneOf,
  notA,
  notAnObject,
  within
} from "./Flaw.ts"

const functionFlaw = (fn: Json.Json | undefined): Flaw | null => {
  if (!Json.isObject(fn)) return notA("an object", fn)
  return needsName(fn) ?? mayBeString(fn, "description") ?? mayBeObject(fn, "parameters") ?? mayBeBoolean(fn, "strict")
}

/** A tool of a type that is not OpenAI's means something to the provider that has it. */
const toolFlaw = (tool: Json.Json): Flaw | null => {
  if (!Json.isObject(tool)) return notAnObject
  if (tool["type"] === "function") return within("function", functionFlaw(tool["function"]))
  if (tool["type"] === "custom") return needsNamed(tool, "custom")
  return needsString(tool, "type")
}

const firstFlaw = (list: Json.Json, flawOf: (item: Json.Json) => Flaw | null): Flaw | null => {
  if (!Json.isArray(list)) return notA("an array", list)
  for (let index = 0; index < list.length; index++) {
    const flaw = flawOf(list[index] ?? null)
    if (flaw !== null) return within(`${index}`, flaw)
  }
  return null
}

/** @category checks @since 0.1.0 */
export const toolsFlaw = (tools: Json.Json): Flaw | null => firstFlaw(tools, toolFlaw)

/** Tools of the older form: functions without anything around them. @category checks @since 0.1.0 */
export const functionsFlaw = (functions: Json.Json): Flaw | null =>
  firstFlaw(functions, (fn) => (Json.isObject(fn) ? functionFlaw(fn) : notAnObject))

/** The function of a call; arguments are JSON as text, which a model may have got wrong. */
const calledFlaw = (fn: Json.Json | undefined): Flaw | null =>
  Json.isObject(fn) ? (needsName(fn) ?? mayBeString(fn, "arguments")) : notA("an object", fn)

const callFlaw = (call: Json.Json): Flaw | null => {
  if (!Json.isObject(call)) return notAnObject
  const strange = mayBeString(call, "id")
  if (strange !== null) return strange
  if (call["type"] === "custom") return needsNamed(call, "custom")
  return within("function", calledFlaw(call["function"]))
}

/** The call of the older form. @category checks @since 0.1.0 */
export const functionCallFlaw = (call: Json.Json): Flaw | null => calledFlaw(call)

/** @category checks @since 0.1.0 */
export const callsFlaw = (calls: Json.Json): Flaw | null => firstFlaw(calls, callFlaw)

const words = ["none", "auto", "required"]
const forms = ["function", "custom", "allowed_tools"]

/** @category checks @since 0.1.0 */
export const toolChoiceFlaw = (choice: Json.Json): Flaw | null => {
  if (typeof choice === "string") return words.includes(choice) ? null : noneOf([...words, "an object"])
  if (!Json.isObject(choice)) return notA(`one of ${words.join(", ")}, or an object`, choice)
  switch (choice["type"]) {
    case "function":
    case "custom":
      return needsNamed(choice, choice["type"])
    case "allowed_tools": {
      const allowed = choice["allowed_tools"]
      if (!Json.isObject(allowed)) return notA("an object", allowed, "allowed_tools")
      return Json.isArray(allowed["tools"]) ? null : notA("an array", allowed["tools"], "allowed_tools.tools")
    }
    default:
      return typeof choice["type"] === "string" ? noneOf(forms, "type") : notA("a string", choice["type"], "type")
  }
}

/** The choice of the older form. @category checks @since 0.1.0 */
export const functionChoiceFlaw = (choice: Json.Json): Flaw | null => {
  if (choice === "none" || choice === "auto") return null
  return Json.isObject(choice) ? needsString(choice, "name") : notA("none, auto, or an object with a name", choice)
}
