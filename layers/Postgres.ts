/**
 * The database server.
 *
 * @since 0.1.0
 */
import { PgClient } from "@effect/sql-pg"
import type { Redacted } from "effect"

/** A pool of connections; statements and locks that take too long give up, so that a request is not kept by one. @category layers @since 0.1.0 */
export const layer = (options: { readonly url: Redacted.Redacted; readonly maxConnections?: number }) =>
  PgClient.layer({
    url: options.url,
    maxConnections: options.maxConnections ?? 10,
    applicationName: "sluice",
    connectTimeout: 5_000,
    startupParameters: { statement_timeout: "15000", lock_timeout: "5000", idle_in_transaction_session_timeout: "10000" }
  })
