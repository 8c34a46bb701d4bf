import { Layer, Redacted } from "effect"
import { inject } from "vitest"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { ledgerContract } from "../contracts/ledger.ts"
import { freshDatabase } from "../support/database.ts"

// One database for all tests of a kind: each takes accounts of its own.
const pglite = Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null)))
const url = await freshDatabase(inject("databaseUrl"))
const postgres = Migrations.layer.pipe(Layer.provideMerge(Postgres.layer({ url: Redacted.make(url) })))

ledgerContract("PGlite", pglite)
ledgerContract("Postgres", postgres)
