/**
 * Whether a value is what a JSON Schema asks for.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import type { Json, JsonObject } from "../../schemas/Json.ts"

/** Where a value first departs from its schema. @category models @since 0.1.0 */
export interface SchemaMismatch {
  /** JSON Pointer; `/` is the whole value. */
  readonly path: string
  readonly message: string
}

/** @category services @since 0.1.0 */
export class JsonSchemas extends Context.Service<
  JsonSchemas,
  {
    /** Null when it fits. The schema is a caller's: a check is bounded in what it costs. */
    readonly check: (schema: JsonObject, value: Json) => SchemaMismatch | null
  }
>()("sluice/streams/JsonSchemas") {}
