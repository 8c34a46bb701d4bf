/**
 * Databases for tests.
 */
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import * as Postgres from "../../layers/Postgres.ts"

let made = 0

/** An empty database on the tests' server; its URL. */
export const freshDatabase = async (serverUrl: string): Promise<string> => {
  const name = `test_${process.pid}_${made++}_${Math.random().toString(36).slice(2)}`
  const create = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(`CREATE DATABASE ${name}`)
  })
  await Effect.runPromise(Effect.provide(create, Postgres.layer({ url: Redacted.make(serverUrl), maxConnections: 1 })))
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.toString()
}
