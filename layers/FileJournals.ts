/**
 * Journals as files: `{directory}/{book}/{node}@{process}.journal`.
 *
 * A record is its length (4 bytes), the CRC-32 of its text (4 bytes) and its text, JSON; a torn tail is cut.
 *
 * @since 0.1.0
 */
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { Deferred, Effect, Schema, Semaphore } from "effect"
import type { Journal, Journals, LeftJournal } from "../src/ledger/Journal.ts"
import { SettleRow } from "../src/ledger/LedgerBook.ts"
import * as DirectoryLock from "./DirectoryLock.ts"

const HEAD = 8

const encode = (row: SettleRow): Buffer => {
  const text = Buffer.from(JSON.stringify(row))
  const record = Buffer.alloc(HEAD + text.length)
  record.writeUInt32LE(text.length, 0)
  record.writeUInt32LE(crc32(text), 4)
  text.copy(record, HEAD)
  return record
}

const decodeRow = Schema.decodeUnknownSync(Schema.fromJsonString(SettleRow))

/** The whole records of a journal, up to the first that is not. @category decoding @since 0.1.0 */
export const decode = (bytes: Buffer): ReadonlyArray<SettleRow> => {
  const rows: Array<SettleRow> = []
  for (let at = 0; at + HEAD <= bytes.length; ) {
    const end = at + HEAD + bytes.readUInt32LE(at)
    const text = bytes.subarray(at + HEAD, end)
    if (end > bytes.length || crc32(text) !== bytes.readUInt32LE(at + 4)) break
    rows.push(decodeRow(text.toString("utf8")))
    at = end
  }
  return rows
}

interface Waiting {
  readonly rows: ReadonlyArray<SettleRow>
  readonly done: Deferred.Deferred<boolean>
}

const openJournal = Effect.fnUntraced(function* (directory: string, node: string) {
  const path = join(directory, `${node}@${DirectoryLock.currentProcess()}.journal`)
  const turn = Semaphore.makeUnsafe(1)
  const waiting: Array<Waiting> = []
  let file: Awaited<ReturnType<typeof open>> | null = null
  // What the system said could not be synced may be lost though a later sync succeeds: nothing is promised any more.
  let broken = false

  const write = async (records: ReadonlyArray<Buffer>): Promise<boolean> => {
    if (broken) return false
    try {
      if (file === null) {
        await mkdir(directory, { recursive: true, mode: 0o700 })
        file = await open(path, "a", 0o600)
      }
      await file.appendFile(Buffer.concat(records))
      await file.datasync()
    } catch {
      broken = true
    }
    return !broken
  }

  // One sync serves everybody who came while the one before was under way.
  const flush = Effect.suspend(() => {
    const now = waiting.splice(0)
    if (now.length === 0) return Effect.void
    const written = Effect.promise(() => write(now.flatMap((each) => each.rows.map(encode))))
    return Effect.map(written, (kept) => {
      for (const each of now) Deferred.doneUnsafe(each.done, Effect.succeed(kept))
    })
  })

  const append: Journal["append"] = (rows) =>
    Effect.suspend(() => {
      const done = Deferred.makeUnsafe<boolean>()
      waiting.push({ rows, done })
      return Effect.andThen(turn.withPermits(1)(flush), Deferred.await(done))
    })

  const clear = turn.withPermits(1)(
    Effect.promise(async () => {
      if (file === null || broken) return
      await file.truncate(0).catch(() => {
        broken = true
      })
    })
  )
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      const empty = file !== null && (await file.stat()).size === 0
      await file?.close()
      if (empty) await rm(path, { force: true })
    }).pipe(Effect.ignoreCause)
  )
  return { append, clear } satisfies Journal
})

/** What a process that is gone left; null for one that lives, and for a file that is no journal. */
const readLeft = async (directory: string, name: string, isGone: (process: string) => boolean): Promise<LeftJournal | null> => {
  const [, node, process] = /^(\d+)@(.+)\.journal$/.exec(name) ?? []
  if (node === undefined || process === undefined || !isGone(process)) return null
  const path = join(directory, name)
  return { node, rows: decode(await readFile(path)), remove: Effect.promise(() => rm(path, { force: true })) }
}

/** Journals under a directory. @category constructors @since 0.1.0 */
export const make = (directory: string, isGone: (process: string) => boolean = DirectoryLock.isGone): Journals => ({
  open: (book, node) => openJournal(join(directory, book), node),
  left: (book) =>
    Effect.tryPromise(async () => {
      const names = await readdir(join(directory, book)).catch(() => [])
      const found = await Promise.all(names.map((name) => readLeft(join(directory, book), name, isGone)))
      return found.filter((journal) => journal !== null)
    }).pipe(
      Effect.catch((error) => Effect.as(Effect.logError(`Journals under ${directory} could not be read: ${String(error.cause)}`), []))
    )
})
