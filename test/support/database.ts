/**
 * Databases for tests.
 */
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import * as Postgres from "../../layers/Postgres.ts"

let made = 0

/** Runs one statement on a database; its rows. */
export const runSql = (url: string, statement: string): Promise<ReadonlyArray<object>> =>
  Effect.runPromise(
    Effect.provide(
      Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(statement)),
      Postgres.layer({ url: Redacted.make(url), maxConnections: 1 })
    )
  )

/** An empty database on the tests' server; its URL. */
export const freshDatabase = async (serverUrl: string): Promise<string> => {
  const name = `test_${process.pid}_${made++}_${Math.random().toString(36).slice(2)}`
  await runSql(serverUrl, `CREATE DATABASE ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.toString()
}
