/**
 * The flags that every command about a server's data has.
 *
 * @since 0.1.0
 */
import { Flag } from "effect/cli"

/** @category flags @since 0.1.0 */
export const url = Flag.String("url").pipe(
  Flag.withDescription("Ask a running server (with ADMIN_API_KEY) instead of the database, such as http://127.0.0.1:8080"),
  Flag.optional
)

/** @category flags @since 0.1.0 */
export const json = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON for machines"), Flag.withDefault(false))
