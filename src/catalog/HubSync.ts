/**
 * Reads from time to time what the Hugging Face Hub tells of the models that are served: how often their weights are fetched,
 * how large they are, who else hosts them. Never on the path of a request: what was read last is served from memory.
 *
 * **Gotchas**: what cannot be read changes nothing, and a Hub that does not answer is left alone until the next round.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, Schedule, Semaphore } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Model } from "../../schemas/Model.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { Transport } from "../providers/Transport.ts"
import { Broadcast } from "../replicas/Broadcast.ts"
import { Catalog } from "./Catalog.ts"
import { HubBook, type HubBookError } from "./HubBook.ts"
import { type HubSnapshot, type KnownRepository, PublishedHubMetrics, readMetrics, repositoryOf } from "./HubMetrics.ts"

/** What became of one repository. @category models @since 0.1.0 */
export interface HubResult {
  readonly repository: string
  /** `kept`: it could not be read, and what was known stays. `left`: it was not asked for, because the Hub does not answer. */
  readonly status: "updated" | "unchanged" | "kept" | "left"
  readonly error: string | null
}

/** Times are milliseconds. @category models @since 0.1.0 */
export interface HubSyncOptions {
  /** The Hub's address, without a trailing slash. */
  readonly url: string
  /** Between two reads of a repository; 0 reads none by itself. */
  readonly everyMs: number
  /** From the start until the first round. */
  readonly firstAfterMs: number
  /** For a whole answer; 10,000 unless given. */
  readonly patienceMs?: number
}

/** @category services @since 0.1.0 */
export class HubSync extends Context.Service<
  HubSync,
  {
    /** Reads repositories of the models that are served now, the longest neglected first. */
    readonly run: Effect.Effect<ReadonlyArray<HubResult>, HubBookError>
    readonly snapshot: () => HubSnapshot
  }
>()("sluice/catalog/HubSync") {
  static readonly layer = (options: HubSyncOptions) =>
    Layer.effect(
      PublishedHubMetrics,
      Effect.map(HubSync, ({ snapshot }) => snapshot)
    ).pipe(Layer.provideMerge(Layer.effect(this, make(options))))
}

const CHANNEL = "hub"
const PATIENCE = 10_000
const MAX_BYTES = 1_024 * 1_024
/** Repositories of one round, and between two rounds: the Hub limits whoever asks without a name to 500 in 5 minutes. */
const BATCH = 250
const ROUND = 3_600_000
const AT_ONCE = 4
/** Failures in a row after which a round ends: it is not one repository that is wrong. */
const FAILURES = 5

const syncs = Metric.counter("sluice_hub_syncs_total", {
  description: "Reads of repositories on the Hugging Face Hub, by what became of them",
  incremental: true
})

const fields = ["author", "downloads", "gguf", "inferenceProviderMapping", "likes", "pipeline_tag", "safetensors"]
const query = `?${fields.map((field) => `expand[]=${field}`).join("&")}`

/** There is no such repository, or none that everybody may see: that is an answer too. */
const isUnknown = (error: string): boolean => error === "status 404" || error === "status 401"

/** Where the Hub says that a repository is now, if that is with itself. */
const moved = (from: string, location: string | undefined): string | null => {
  if (location === undefined || !URL.canParse(location, from)) return null
  const to = new URL(location, from)
  if (to.origin !== new URL(from).origin) return null
  return to.search === "" ? to.href + query : to.href
}

/** What the Hub answers of a repository; fails with words for the operator. */
const fetchText = (transport: Transport["Service"], url: string, patience: number): Effect.Effect<string, string> => {
  const read = (address: string, mayMove: boolean): Effect.Effect<string, unknown> =>
    Effect.gen(function* () {
      const request = { method: "GET" as const, url: address, headers: { accept: "application/json", "user-agent": "sluice" }, body: null }
      const { headers, isWhole, status, text } = yield* transport.ask(request, MAX_BYTES)
      // A repository that was renamed is where the Hub says, once.
      const to = mayMove && status >= 300 && status < 400 ? moved(address, headers["location"]) : null
      if (to !== null) return yield* read(to, false)
      if (status !== 200) return yield* Effect.fail(`status ${status}`)
      return isWhole ? text : yield* Effect.fail(`more than ${MAX_BYTES} bytes`)
    })
  return read(url, true).pipe(
    Effect.mapError((error) => (typeof error === "string" ? error : "no answer")),
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail("no whole answer in time") })
  )
}

const snapshotOf = (version: number, rows: ReadonlyArray<KnownRepository>): HubSnapshot => {
  const known = new Map(rows.map((row) => [row.repository, row]))
  return {
    version,
    of: (model: Model) => {
      const repository = repositoryOf(model)
      return repository === null ? null : (known.get(repository) ?? null)
    }
  }
}

const make = Effect.fnUntraced(function* (options: HubSyncOptions) {
  const catalog = yield* Catalog
  const registry = yield* ProviderRegistry
  const transport = yield* Transport
  const book = yield* HubBook
  const broadcast = yield* Broadcast
  const holder = yield* (yield* SecureRandom.SecureRandom).uuidV7()
  const turn = yield* Semaphore.make(1)
  let snapshot = snapshotOf(1, [])
  let seen = ""

  const refresh = book.known.pipe(
    Effect.map((rows) => {
      const now = rows
        .map(({ repository, syncedAt }) => `${repository} ${syncedAt}`)
        .sort()
        .join()
      if (now !== seen) snapshot = snapshotOf(snapshot.version + 1, rows)
      seen = now
    }),
    Effect.catchCause((cause) => Effect.logWarning("What is kept of the Hugging Face Hub could not be read", cause))
  )

  /** Repositories of models that somebody can be asked for now: of others nobody needs to know. */
  const wanted = Effect.map(catalog.models, (models) =>
    models.flatMap((model) => {
      const repository = model.providers.some(({ slug }) => registry.get(slug)?.active === true) ? repositoryOf(model) : null
      return repository === null ? [] : [repository]
    })
  )

  const readOne = Effect.fnUntraced(function* (repository: string): Effect.fn.Return<HubResult, HubBookError> {
    const found = yield* Effect.result(
      fetchText(transport, `${options.url}/api/models/${repository}${query}`, options.patienceMs ?? PATIENCE)
    )
    const metrics = found._tag === "Success" ? readMetrics(found.success) : null
    if (metrics === null) {
      const error = found._tag === "Failure" ? found.failure : "not what the Hub tells of a model"
      yield* book.fail(repository, error)
      return { repository, status: "kept", error }
    }
    const isNew = yield* book.write(repository, yield* Clock.currentTimeMillis, metrics)
    return { repository, status: isNew ? "updated" : "unchanged", error: null }
  })

  const round = Effect.fnUntraced(function* (everyMs: number, againMs: number) {
    const now = yield* Clock.currentTimeMillis
    const mine = yield* book.claim(yield* wanted, now, { everyMs, againMs }, BATCH)
    let failures = 0
    const results = yield* Effect.forEach(
      mine,
      (repository) =>
        failures >= FAILURES
          ? Effect.succeed<HubResult>({ repository, status: "left", error: null })
          : Effect.tap(readOne(repository), ({ error }) =>
              Effect.sync(() => {
                failures = error === null || isUnknown(error) ? 0 : failures + 1
              })
            ),
      { concurrency: AT_ONCE }
    )
    for (const { status } of results) yield* Metric.update(Metric.withAttributes(syncs, { status }), 1)
    const kept = results.filter(({ error }) => error !== null && !isUnknown(error))
    if (kept.length > 0) {
      const first = `${kept[0]?.repository}: ${kept[0]?.error}`
      yield* Effect.logWarning(`The Hugging Face Hub could not be read for ${kept.length} of ${results.length} models (${first})`)
    }
    if (results.some(({ error, status }) => status !== "left" && error === null)) {
      yield* refresh
      yield* broadcast.publish(CHANNEL, holder)
    }
    return results
  })

  yield* refresh
  yield* broadcast.subscribe(CHANNEL, (heard) => (heard._tag === "Message" && heard.message === holder ? Effect.void : refresh))
  if (options.everyMs > 0) {
    const every = Math.min(options.everyMs, ROUND)
    // What others read is looked up too: nobody but the database may have told of it.
    const quiet = Effect.andThen(
      Effect.catchCause(Semaphore.withPermits(turn, 1)(round(options.everyMs, every)), (cause) =>
        Effect.logWarning("The Hugging Face Hub could not be read", cause)
      ),
      refresh
    )
    yield* Effect.forkScoped(Effect.delay(Effect.repeat(quiet, Schedule.spaced(every)), options.firstAfterMs))
  }
  return HubSync.of({ run: Semaphore.withPermits(turn, 1)(round(0, 0)), snapshot: () => snapshot })
})
