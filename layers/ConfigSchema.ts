/**
 * The JSON Schema of the configuration file, for editors: made of what the settings take where they are read.
 *
 * @since 0.1.0
 */
import { Effect, JsonSchema, Schema } from "effect"
import { Sections } from "../schemas/ConfigFile.ts"
import type { SettingFact } from "./SettingReaders.ts"
import { facts } from "./Settings.ts"
import { settingWords } from "./SettingWords.ts"

type Property = Readonly<Record<string, unknown>>

/** A reference to a variable stands for any value. */
const orReference = (property: Property): Property => ({
  anyOf: [property, { type: "string", pattern: "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}" }]
})

const shapeOf = (fact: SettingFact): Property => {
  switch (fact.kind) {
    case "whole": {
      const number = { type: "integer", minimum: fact.least, maximum: fact.most }
      const words = [...(fact.orOff === true ? ["off"] : []), ...(fact.orAuto === true ? ["auto"] : [])]
      return orReference(words.length === 0 ? number : { anyOf: [number, { enum: [...words, ...(fact.orOff === true ? [false] : [])] }] })
    }
    case "choice": {
      const options = (fact.options ?? []).map((option) => option.toLowerCase())
      const isSwitch = options.includes("on") || options.includes("true")
      return orReference({ enum: isSwitch ? [...options, true, false] : options })
    }
    case "list":
      return { type: ["string", "array"], items: { type: "string" } }
    case "pairs":
      return { type: ["string", "object"], additionalProperties: { type: ["string", "number", "array"] } }
    case "text":
    case "url":
      return { type: ["string", "number"] }
  }
}

/** @category constructors @since 0.1.0 */
export const make: Effect.Effect<Readonly<Record<string, unknown>>> = Effect.map(facts, (all) => {
  const properties: Record<string, unknown> = {}
  for (const fact of all) {
    properties[fact.name.toLowerCase()] = {
      description: `${settingWords[fact.name] ?? ""} (${fact.name})`.trim(),
      ...(fact.fallback === null
        ? {}
        : { default: typeof fact.fallback === "string" && fact.kind === "choice" ? fact.fallback.toLowerCase() : fact.fallback }),
      ...shapeOf(fact)
    }
  }
  const sections = JsonSchema.toDocumentDraft07(Schema.toJsonSchemaDocument(Sections, { onExcessProperty: "error" }))
  const { properties: structured, ...rest } = sections.schema
  return {
    $schema: JsonSchema.META_SCHEMA_URI_DRAFT_07,
    title: "Sluice",
    description: "sluice.yaml: settings by the environment's names in lower case; the environment wins.",
    ...rest,
    properties: { ...properties, ...(typeof structured === "object" ? structured : {}) },
    ...(Object.keys(sections.definitions).length === 0 ? {} : { definitions: sections.definitions })
  }
})
