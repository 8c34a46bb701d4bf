/**
 * What can go wrong with users and keys.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { LedgerError } from "../../schemas/LedgerEntry.ts"
import { messageOf } from "../database/Failures.ts"

/** @category errors @since 0.1.0 */
export class AccountsError extends Schema.TaggedError<AccountsError>()("AccountsError", {
  reason: Schema.Literals([
    "email_taken",
    "invalid_email",
    "invalid_password",
    "disposable_email",
    "user_not_found",
    "key_not_found",
    "name_taken",
    "invalid_input",
    "wrong_credentials",
    "invalid_token",
    "not_linked",
    "identity_taken",
    "not_allowed",
    "busy",
    "unavailable"
  ]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** @category constructors @since 0.1.0 */
export const fail = (reason: AccountsError["reason"], detail: string) => new AccountsError({ reason, detail })

/** A failure of the database or of the ledger, in this room's words. @category constructors @since 0.1.0 */
export const fromDatabase = (error: unknown): AccountsError => {
  if (error instanceof AccountsError) return error
  if (error instanceof LedgerError) return fail("unavailable", "the ledger did not answer")
  const text = messageOf(error)
  if (text.includes("users_email_key")) return fail("email_taken", "There is a user with this e-mail address already.")
  if (text.includes("identities_pkey")) return fail("identity_taken", "This identity belongs to an account already.")
  if (text.includes("api_keys_user_id_name_key")) return fail("name_taken", "There is a key of this name already.")
  return fail("unavailable", "the database did not answer")
}

/** A time column as ISO-8601 in UTC. @category encoding @since 0.1.0 */
export const isoColumn = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${column}`
