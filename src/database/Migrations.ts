/**
 * The schema of the database, step by step; run on start, under a lock, the same on PGlite and Postgres.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Schedule } from "effect"
import { Migrator } from "effect/sql"
import { createBilling } from "../billing/BillingSchema.ts"
import { createCatalog } from "../catalog/CatalogSchema.ts"
import { createHub } from "../catalog/HubSchema.ts"
import { createEvents } from "../events/EventsSchema.ts"
import { createSla } from "../events/SlaSchema.ts"
import { createHealth } from "../health/HealthSchema.ts"
import { createIdentity } from "../identity/IdentitySchema.ts"
import { createPlans } from "../identity/PlanSchema.ts"
import { createSignIn } from "../identity/SignInSchema.ts"
import { createHeldHints } from "../ledger/HeldHints.ts"
import { createLedger, createLedgerFunctions, extendLedger } from "../ledger/LedgerSchema.ts"
import { createRequestFunctions, createRequestIndex, createRequests } from "../usage/RequestLogSchema.ts"
import { createUntold } from "../usage/UntoldRequests.ts"

const steps = {
  "0001_ledger": createLedger,
  "0002_identity": createIdentity,
  "0003_requests": createRequests,
  "0004_ledger": extendLedger,
  "0005_plans": createPlans,
  "0006_billing": createBilling,
  "0007_events": createEvents,
  "0012_catalog": createCatalog,
  "0020_health": createHealth,
  "0027_hub": createHub,
  "0030_sla": createSla,
  "0031_ledger": createLedgerFunctions,
  "0033_held_hints": createHeldHints,
  "0034_untold_requests": createUntold,
  "0035_requests": createRequestFunctions,
  "0036_requests_by_account": createRequestIndex,
  "0008_sign_in": createSignIn
}

/** Where it is written down which steps were taken. @category data @since 0.1.0 */
export const table = "migrations"

/** The numbers of all steps. @category data @since 0.1.0 */
export const ids: ReadonlyArray<number> = Object.keys(steps).map((name) => Number.parseInt(name, 10))

const run = Migrator.make({})({ table, loader: Migrator.fromRecord(steps) })

/** Brings the schema up to date; several processes may start at once. @category layers @since 0.1.0 */
export const layer = Layer.effectDiscard(Effect.retry(run, { schedule: Schedule.spaced(200), times: 10 }))
