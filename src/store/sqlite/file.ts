import { closeSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeFolder } from '../../runtime/make-folder.ts'
import { microBatch } from '../../runtime/micro-batch.ts'
import { type Invalidation, StoreError } from '../store.ts'
import { DiskReserve } from './reserve.ts'
import { migrate } from './schema.ts'
import { prepareStatements } from './statements.ts'
import { CHECKPOINT_BYTES, WriteAheadLog } from './wal.ts'

/** So long another process on the same file is waited for; not inside SQLite, which would hold up the event loop. */
const BUSY_TIMEOUT_MS = 1_000
const BETWEEN_TRIES_MS = 2
/** More would hold up the event loop for too long. */
const WRITES_PER_COMMIT = 64
const SOON_MS = 20

export type Row = Record<string, SQLOutputValue>

type When = 'now' | 'together' | 'soon'

interface Write {
  /** When it was first tried, or would have been, on the monotonic clock. */
  since?: number
  work: () => [result: unknown, change?: Invalidation]
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
}

/** What is kept in memory for the length of a transaction. */
export interface Transactional {
  /** Before the commit: writes what it holds. */
  flush?(): void
  /** The transaction is over. @param isDone false: nothing of it was */
  clear(isDone: boolean): void
}

/** The file: its statements, reads, and writes that share transactions. Calls reject with `StoreError`. */
export class SqliteFile {
  readonly db: DatabaseSync
  /** How long the latest transaction took: when a write resolves, its own. */
  lastMs = 0
  readonly sql: ReturnType<typeof prepareStatements>
  readonly #note: (change: Invalidation) => void
  readonly #tell: (change: Invalidation) => void
  #writes: Write[] = []
  readonly #reserve: DiskReserve
  readonly #wal: WriteAheadLog
  readonly #shared: Transactional[] = []
  #timer: NodeJS.Timeout | undefined
  /** The next turn commits. */
  #isDue = false
  /** Another thread has the file for a moment: waiting for it inside SQLite would hold up the event loop. */
  #isHeld = false
  /** Another process has it. */
  #retry: NodeJS.Timeout | undefined

  /**
   * @param note called inside the transaction of a change, @param tell after it
   * @throws StoreError when the file can't be opened
   */
  constructor(path: string, note: (change: Invalidation) => void, tell: (change: Invalidation) => void) {
    try {
      this.db = openDatabase(path)
    } catch (error) {
      throw new StoreError(`Cannot open ${path}: ${messageOf(error)}`, { cause: error })
    }
    this.#reserve = new DiskReserve(path)
    this.#wal = new WriteAheadLog(path, {
      hold: () => {
        this.#isHeld = true
      },
      release: () => {
        if (!this.#isHeld) return
        this.#isHeld = false
        this.#commitNext()
      },
      truncateHere: () => truncateLog(this.db),
    })
    this.sql = prepareStatements(this.db)
    this.db.exec('PRAGMA busy_timeout = 0')
    this.#note = note
    this.#tell = tell
  }

  /** From now on what this holds is written with each transaction. */
  share(part: Transactional): void {
    this.#shared.push(part)
  }

  /** Runs reads. They may be run again: `work` changes nothing. */
  async read<T>(work: () => T): Promise<T> {
    for (const from = performance.now(); ; ) {
      try {
        return work()
      } catch (error) {
        if (!isBusy(error) || isOver(from)) throw storeError(error)
        await sleep(BETWEEN_TRIES_MS)
      }
    }
  }

  /** As `write`, also on a full disk: room is kept for it. */
  async writeUrgently<T>(work: () => [result: T, change?: Invalidation]): Promise<T> {
    try {
      return await this.write(work)
    } catch (error) {
      if (!isFull(error) || !this.#reserve.release()) throw error
      return await this.write(work)
    }
  }

  /**
   * Runs writes all or none, and then tells of the change. Resolves when they are committed. They may be undone and run
   * again: `work` changes nothing but the file.
   *
   * @param when `now`: at the end of this turn of the event loop; `together`: with those of other requests
   * (`microBatch`); `soon`: nobody waits for it, so that it goes with the next, within 20 ms
   */
  write<T>(work: () => [result: T, change?: Invalidation], when: When = 'now'): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#writes.push({ work, resolve: resolve as (result: unknown) => void, reject })
      if (when === 'together') microBatch(this.#commitNext)
      else if (when === 'soon') this.#timer ??= setTimeout(this.#commitNext, SOON_MS)
      else if (!this.#isDue) {
        this.#isDue = true
        setImmediate(this.#commitNext)
      }
    })
  }

  /**
   * What was erased still stands in the write-ahead log, until it is emptied. Another reader may be in the way:
   * `lookAtWal` tries again then, until it is done.
   */
  emptyWal(): Promise<void> {
    return this.#wal.empty()
  }

  /** Writes wait for a moment (`write` sees to that). */
  get isHeld(): boolean {
    return this.#isHeld
  }

  /** To be called now and then. */
  lookAtWal(): void {
    void this.#wal.look()
  }

  /** Keeps room for what must not wait, where there is some again. */
  keepRoom(): void {
    this.#reserve.keep()
  }

  async close(): Promise<void> {
    this.#isHeld = false
    while (this.#writes.length > 0) {
      this.#commitNext()
      // The thread may begin the log anew in such a wait, too.
      if (this.#retry || this.#isHeld) await sleep(BETWEEN_TRIES_MS)
    }
    await this.#wal.close()
    if (this.db.isOpen) this.db.close()
  }

  /**
   * Writes of one turn of the event loop share a transaction: a commit costs more than they do (docs/profile.md). Where
   * one of them fails, each is run again by itself.
   */
  readonly #commitNext = () => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#retry) return
    if (this.#isHeld) return
    const writes = this.#writes.splice(0, WRITES_PER_COMMIT)
    this.#isDue = this.#writes.length > 0
    if (this.#isDue) setImmediate(this.#commitNext)
    if (writes.length === 0) return
    const from = performance.now()
    let outcome = this.#commit(writes)
    let left = writes
    for (const alone = outcome === 'failed'; alone && left.length > 0; left = left.slice(1)) {
      outcome = this.#commit(left.slice(0, 1))
      if (outcome === 'locked') break
    }
    this.lastMs = performance.now() - from
    if (outcome === 'locked') this.#waitForOthers(left)
  }

  /** Those that have waited for too long are told, also of those behind the first, and the others tried again soon. */
  #waitForOthers(writes: Write[]): void {
    const late: Write[] = []
    const early: Write[] = []
    for (const write of [...writes, ...this.#writes]) {
      write.since ??= performance.now()
      ;(isOver(write.since) ? late : early).push(write)
    }
    this.#writes = early
    reject(late, new StoreError('SQLite: the file is locked'))
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.#commitNext()
    }, BETWEEN_TRIES_MS)
  }

  /**
   * @returns `failed`: of several, one can't be done, and nothing was. Of one alone, its caller has been told.
   *   `locked`: another process is writing
   */
  #commit(writes: readonly Write[]): 'done' | 'locked' | 'failed' {
    try {
      // One that could not be rolled back is in the way of all that follow.
      if (this.db.isTransaction) this.sql.rollback.run()
      this.sql.begin.run()
    } catch (error) {
      if (isBusy(error)) return 'locked'
      reject(writes, storeError(error))
      return 'done'
    }
    let results: ReturnType<Write['work']>[]
    let isDone = false
    try {
      results = writes.map(({ work }) => this.#noted(work()))
      for (const part of this.#shared) part.flush?.()
      this.sql.commit.run()
      isDone = true
    } catch (error) {
      this.#rollBack()
      if (writes.length > 1) return 'failed'
      reject(writes, storeError(error))
      return 'done'
    } finally {
      for (const part of this.#shared) part.clear(isDone)
    }
    // Those who wait go on after this turn: they have heard of the changes by then.
    for (const [i, { resolve }] of writes.entries()) resolve(results[i]![0])
    for (const [, change] of results) if (change) this.#tell(change)
    return 'done'
  }

  /** Never throws: whoever waits for the writes is to hear why they failed. */
  #rollBack(): void {
    try {
      // Some errors end the transaction.
      if (this.db.isTransaction) this.sql.rollback.run()
    } catch {
      // Before the next one it is tried again.
    }
  }

  /** In the order of the writes: an erasure forgets what was noted of a user before it. */
  #noted(done: ReturnType<Write['work']>): ReturnType<Write['work']> {
    if (done[1]) this.#note(done[1])
    return done
  }
}

function reject(writes: readonly Write[], error: unknown): void {
  for (const write of writes) write.reject(error)
}

function openDatabase(path: string): DatabaseSync {
  if (path !== ':memory:') {
    makeFolder(dirname(path))
    // Readable by its owner alone: it holds what users thought.
    closeSync(openSync(path, 'a', 0o600))
  }
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA cache_size = -16384',
  )
  // Beyond that size a thread writes it back (`WriteAheadLog`); where that does not come about, a commit does.
  db.exec(`PRAGMA journal_size_limit = ${CHECKPOINT_BYTES}; PRAGMA wal_autocheckpoint = 16000`)
  migrate(db)
  return db
}

/** Where no thread can do it. Waits for nobody. @returns false: something was in the way */
function truncateLog(db: DatabaseSync): boolean {
  if (!db.isOpen) return false
  try {
    return db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0
  } catch {
    return false
  }
}

/** SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE: the row is at fault, not the file. */
const ROW_AT_FAULT = [18, 19, 20, 25]

/** SQLITE_FULL, and SQLITE_IOERR, which a write-ahead log without room may end in. */
const NO_ROOM = [13, 10]

const SQLITE_BUSY = 5

/** Another process is writing. */
export const isBusy = (error: unknown) => (Number((error as { errcode?: unknown }).errcode) & 0xff) === SQLITE_BUSY

const isOver = (since = performance.now()) => performance.now() - since >= BUSY_TIMEOUT_MS

const isFull = (error: unknown) =>
  error instanceof StoreError && NO_ROOM.includes(Number((error.cause as { errcode?: unknown })?.errcode) & 0xff)

/** What may work later is a `StoreError`; what is wrong with the call itself stays what it is. */
function storeError(error: unknown): unknown {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  const closed = code === 'ERR_INVALID_STATE'
  if (!closed && (code !== 'ERR_SQLITE_ERROR' || ROW_AT_FAULT.includes(Number(errcode) & 0xff))) return error
  return new StoreError(`SQLite: ${messageOf(error)}`, { cause: error })
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
