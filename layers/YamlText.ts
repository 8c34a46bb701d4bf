/**
 * Values as YAML for people to read and change.
 *
 * @since 0.1.0
 */
import * as Json from "../schemas/Json.ts"

const plain = /^[A-Za-z_./][A-Za-z0-9_./${}@+-]*$/
const reserved = /^(true|false|null|yes|no|on|off|~)$/i

const scalar = (value: Json.Json): string =>
  typeof value === "string" && plain.test(value) && !reserved.test(value) && !value.includes("{") ? value : JSON.stringify(value)

const key = (name: string): string => (plain.test(name) && !reserved.test(name) ? name : JSON.stringify(name))

const lines = (value: Json.Json, indent: string): ReadonlyArray<string> => {
  if (Json.isArray(value)) {
    return value.flatMap((item) => {
      if (typeof item !== "object" || item === null) return [`${indent}- ${scalar(item)}`]
      const [first = "", ...rest] = lines(item, `${indent}  `)
      return [`${indent}- ${first.trimStart()}`, ...rest]
    })
  }
  if (!Json.isObject(value)) return [`${indent}${scalar(value)}`]
  return Object.entries(value).flatMap(([name, item]) => {
    const isEmpty = typeof item === "object" && item !== null && Object.keys(item).length === 0
    if (isEmpty) return [`${indent}${key(name)}: ${Json.isArray(item) ? "[]" : "{}"}`]
    if (typeof item !== "object" || item === null) return [`${indent}${key(name)}: ${scalar(item)}`]
    return [`${indent}${key(name)}:`, ...lines(item, `${indent}  `)]
  })
}

/** @category formatting @since 0.1.0 */
export const yamlText = (value: Json.JsonObject): string => `${lines(value, "").join("\n")}\n`
