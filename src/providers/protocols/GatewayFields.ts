/**
 * Fields of a body that speak to the gateway, not to a provider.
 *
 * @since 0.1.0
 */
import type { JsonObject } from "../../../schemas/Json.ts"

const fields: ReadonlyArray<string> = ["models", "provider", "drop_params"]

/** @category encoding @since 0.1.0 */
export const withoutGatewayFields = (body: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(body).filter(([name]) => !fields.includes(name)))
