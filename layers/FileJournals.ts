/**
 * Journals as files: `{directory}/{book}/{node}@{process}.journal`, and `….2.journal` while the first waits for the database to
 * have all that it keeps: in turns, so that neither grows without bound though at no moment nothing is owed.
 *
 * A record is its length (4 bytes), the CRC-32 of its text (4 bytes) and its text, JSON; a torn tail is cut. Behind the records
 * that are needed there may be older ones, of requests that the database has.
 *
 * @since 0.1.0
 */
import { closeSync, fdatasync, mkdirSync, openSync, rmSync, writeSync } from "node:fs"
import { readdir, readFile, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { crc32 } from "node:zlib"
import { Deferred, Effect, Schema, Semaphore } from "effect"
import type { Journal, Journals, LeftJournal } from "../src/ledger/Journal.ts"
import { SettleRow } from "../src/ledger/LedgerBook.ts"
import * as DirectoryLock from "./DirectoryLock.ts"

const HEAD = 8

/** No record: of no length, and with another sum than nothing has. */
const END = Buffer.from([0, 0, 0, 0, 1, 0, 0, 0])

const encode = (row: SettleRow): Buffer => {
  const text = JSON.stringify(row)
  const length = Buffer.byteLength(text)
  const record = Buffer.allocUnsafe(HEAD + length)
  record.write(text, HEAD)
  record.writeUInt32LE(length, 0)
  record.writeUInt32LE(crc32(record.subarray(HEAD)), 4)
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

/** What one file takes before the other is turned to, as soon as the database has all that is in that. */
const FILE = 262_144

/** One of a journal's two files: what it keeps is forgotten all at once. */
class JournalFile {
  readonly path: string
  /** Requests in it that the database does not have. */
  private readonly open = new Set<string>()
  private file: number | null = null
  private size = 0

  constructor(path: string) {
    this.path = path
  }

  get isFull(): boolean {
    return this.size >= FILE
  }

  get isFree(): boolean {
    return this.open.size === 0
  }

  get descriptor(): number | null {
    return this.file
  }

  /** Writes behind what is kept: where that fails, the next record takes the same place, and none stands behind a torn one. */
  append(rids: Iterable<string>, bytes: Uint8Array): boolean {
    try {
      if (this.file === null) {
        mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
        this.file = openSync(this.path, "w", 0o600)
      }
      if (writeSync(this.file, bytes, 0, bytes.length, this.size) < bytes.length) return false
    } catch {
      return false
    }
    this.size += bytes.length
    for (const rid of rids) this.open.add(rid)
    return true
  }

  /** The database has a request; whether it was kept here. */
  written(rid: string): boolean {
    return this.open.delete(rid)
  }

  /**
   * Begins anew when nothing in it is needed any more. What stays behind the mark is written over, and who reads of it finds
   * requests that the database has: to write where a file has its space already costs less than to cut it and let it grow.
   */
  clear(): void {
    if (this.file === null || this.size === 0 || !this.isFree) return
    try {
      writeSync(this.file, END, 0, HEAD, 0)
    } catch {
      // Then more is found there, which the database has.
    }
    this.size = 0
  }

  close(): void {
    if (this.file === null) return
    closeSync(this.file)
    if (this.size === 0) rmSync(this.path, { force: true })
  }
}

class TwoFiles {
  private current: JournalFile
  private other: JournalFile
  /** Nothing more is tried before the database has taken something: a full disk is not asked again for each request. */
  private failed = false

  constructor(path: string) {
    this.current = new JournalFile(`${path}.journal`)
    this.other = new JournalFile(`${path}.2.journal`)
  }

  append(rids: Iterable<string>, bytes: Uint8Array): boolean {
    if (this.failed) return false
    if (this.current.isFull && this.other.isFree) {
      this.other.clear()
      const { current, other } = this
      this.current = other
      this.other = current
    }
    this.failed = !this.current.append(rids, bytes)
    return !this.failed
  }

  written(rids: ReadonlyArray<string>): void {
    this.failed = false
    for (const rid of rids) if (!this.other.written(rid)) this.current.written(rid)
    this.other.clear()
    this.current.clear()
  }

  async sync(): Promise<boolean> {
    try {
      for (const { descriptor } of [this.current, this.other]) if (descriptor !== null) await datasync(descriptor)
      return true
    } catch {
      return false
    }
  }

  close(): void {
    this.current.close()
    this.other.close()
  }
}

const datasync = promisify(fdatasync)

const openJournal = Effect.fnUntraced(function* (directory: string, node: string, process: string) {
  const files = new TwoFiles(join(directory, `${node}@${process}`))
  const turn = Semaphore.makeUnsafe(1)
  const waiting: Array<Waiting> = []
  // What the system said could not be synced may be lost though a later sync succeeds: nothing is promised any more.
  let broken = false

  const write = async (rows: ReadonlyArray<SettleRow>): Promise<boolean> => {
    if (
      broken ||
      !files.append(
        rows.map(({ rid }) => rid),
        Buffer.concat(rows.map(encode))
      )
    )
      return false
    broken = !(await files.sync())
    return !broken
  }

  // One sync serves everybody who came while the one before was under way.
  const flush = Effect.suspend(() => {
    const now = waiting.splice(0)
    if (now.length === 0) return Effect.void
    return Effect.map(
      Effect.promise(() => write(now.flatMap((each) => each.rows))),
      (kept) => {
        for (const each of now) Deferred.doneUnsafe(each.done, Effect.succeed(kept))
      }
    )
  })

  const append: Journal["append"] = (rows) =>
    Effect.suspend(() => {
      const done = Deferred.makeUnsafe<boolean>()
      waiting.push({ rows, done })
      return Effect.andThen(turn.withPermits(1)(flush), Deferred.await(done))
    })

  yield* Effect.addFinalizer(() => Effect.ignoreCause(Effect.sync(() => files.close())))
  return {
    append,
    appendNow: (row) => !broken && files.append([row.rid], encode(row)),
    written: (rids) => files.written(rids)
  } satisfies Journal
})

/** What a process that is gone left in one file; null for one that lives, and for a file that is no journal. */
const readLeft = async (directory: string, name: string, isGone: (process: string) => boolean): Promise<LeftJournal | null> => {
  const [, node, process] = /^(\d+)@(.+?)(?:\.2)?\.journal$/.exec(name) ?? []
  if (node === undefined || process === undefined || !isGone(process)) return null
  const path = join(directory, name)
  return { node, rows: decode(await readFile(path)), remove: Effect.promise(() => rm(path, { force: true })) }
}

/** The files of one process are one journal: its lease is given back once, after all that it kept. */
const joined = (files: ReadonlyArray<LeftJournal>): ReadonlyArray<LeftJournal> => {
  const byNode = new Map<string, LeftJournal>()
  for (const { node, remove, rows } of files) {
    const other = byNode.get(node)
    byNode.set(node, {
      node,
      rows: other === undefined ? rows : [...other.rows, ...rows],
      remove: other === undefined ? remove : Effect.andThen(other.remove, remove)
    })
  }
  return [...byNode.values()]
}

/** Where the journals of a data directory are. @category accessors @since 0.1.0 */
export const directoryOf = (dataDir: string): string => join(dataDir, "journal")

/** Journals under a directory, those of this process under its name. @category constructors @since 0.1.0 */
export const make = (
  directory: string,
  isGone: (process: string) => boolean = DirectoryLock.isGone,
  process: string = DirectoryLock.currentProcess()
): Journals => ({
  open: (book, node) => openJournal(join(directory, book), node, process),
  left: (book) =>
    Effect.tryPromise(async () => {
      const names = await readdir(join(directory, book)).catch(() => [])
      const found = await Promise.all(names.map((name) => readLeft(join(directory, book), name, isGone)))
      return joined(found.filter((journal) => journal !== null))
    }).pipe(
      Effect.catch((error) => Effect.as(Effect.logError(`Journals under ${directory} could not be read: ${String(error.cause)}`), []))
    )
})
