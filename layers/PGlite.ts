/**
 * Postgres in this process: PGlite behind the same client, so that one SQL serves both.
 *
 * @since 0.1.0
 */
import { Duplex } from "node:stream"
import { PgClient } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { Data, Effect, Layer } from "effect"

/** The embedded database cannot be opened. @category errors @since 0.1.0 */
export class EmbeddedDatabaseError extends Data.TaggedError("EmbeddedDatabaseError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** A socket to the database in this process: what is written is executed, what it answers is read. */
class ProcessSocket extends Duplex {
  private readonly database: PGlite
  private work: Promise<void> = Promise.resolve()

  constructor(database: PGlite) {
    super()
    this.database = database
    queueMicrotask(() => this.emit("connect"))
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // One message after another: the protocol has no other order.
    this.work = this.work.then(async () => {
      try {
        const answer = await this.database.execProtocolRaw(chunk)
        if (answer.length > 0) this.push(answer)
        done()
      } catch (cause) {
        done(cause instanceof Error ? cause : new Error(String(cause)))
      }
    })
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }

  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
}

const open = (directory: string | null) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => (directory === null ? PGlite.create() : PGlite.create(directory)),
      catch: (cause) =>
        new EmbeddedDatabaseError({
          message: `The embedded database ${directory ?? "in memory"} cannot be opened: ${String(cause)}`,
          cause
        })
    }),
    (database) => Effect.ignore(Effect.tryPromise(() => database.close()))
  )

/** The embedded database in a directory, or in memory. One process at a time: see `DirectoryLock`. @category layers @since 0.1.0 */
export const layer = (directory: string | null) =>
  Layer.unwrap(
    Effect.map(open(directory), (database) =>
      PgClient.layer({
        stream: () => new ProcessSocket(database),
        username: "postgres",
        database: "postgres",
        maxConnections: 1,
        minConnections: 1
      })
    )
  )
