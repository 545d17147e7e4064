import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { type Invalidation, StoreError } from '../store.ts'
import { DiskReserve } from './reserve.ts'
import { migrate } from './schema.ts'
import { prepareStatements } from './statements.ts'

/** Waiting for another process on the same file blocks this one: rather an error. */
const BUSY_TIMEOUT_MS = 1_000
/** More would hold up the event loop for too long. */
const WRITES_PER_COMMIT = 64

export type Row = Record<string, SQLOutputValue>

interface Write {
  work: () => [result: unknown, change?: Invalidation]
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
}

/** The file: its statements, reads, and writes that share transactions. Calls reject with `StoreError`. */
export class SqliteFile {
  readonly db: DatabaseSync
  readonly sql: ReturnType<typeof prepareStatements>
  readonly #note: (change: Invalidation) => void
  readonly #tell: (change: Invalidation) => void
  readonly #writes: Write[] = []
  readonly #reserve: DiskReserve

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
    this.sql = prepareStatements(this.db)
    this.#note = note
    this.#tell = tell
  }

  /** Runs reads. */
  async read<T>(work: () => T): Promise<T> {
    try {
      return work()
    } catch (error) {
      throw storeError(error)
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

  /** Runs writes all or none, and then tells of the change. Resolves when they are committed. */
  write<T>(work: () => [result: T, change?: Invalidation]): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#writes.length === 0) setImmediate(() => this.#commit())
      this.#writes.push({ work, resolve: resolve as (result: unknown) => void, reject })
    })
  }

  /**
   * What was erased still stands in the write-ahead log, until it is written back. Another reader may be in the way:
   * the next checkpoint does it then.
   */
  emptyWal(): void {
    try {
      this.db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // Closed meanwhile, which empties it, too.
    }
  }

  /** Keeps room for what must not wait, where there is some again. */
  keepRoom(): void {
    this.#reserve.keep()
  }

  close(): void {
    while (this.#writes.length > 0) this.#commit()
    if (this.db.isOpen) this.db.close()
  }

  /**
   * Writes of one turn of the event loop share a transaction: a commit costs more than they do (docs/profile.md). One
   * that fails is undone alone.
   */
  #commit(): void {
    const writes = this.#writes.splice(0, WRITES_PER_COMMIT)
    if (writes.length === 0) return
    if (this.#writes.length > 0) setImmediate(() => this.#commit())
    const tell: (() => void)[] = []
    try {
      this.sql.begin.run()
      for (const { work, resolve, reject } of writes) {
        this.sql.savepoint.run()
        try {
          const [result, change] = work()
          if (change) this.#note(change)
          this.sql.release.run()
          tell.push(() => {
            if (change) this.#tell(change)
            resolve(result)
          })
        } catch (error) {
          // Some errors end the transaction: then nothing of it is left to commit.
          if (!this.db.isTransaction) throw error
          this.sql.undo.run()
          this.sql.release.run()
          tell.push(() => reject(storeError(error)))
        }
      }
      this.sql.commit.run()
    } catch (error) {
      if (this.db.isTransaction) this.sql.rollback.run()
      for (const { reject } of writes) reject(storeError(error))
      return
    }
    for (const one of tell) one()
  }
}

function openDatabase(path: string): DatabaseSync {
  if (path !== ':memory:') {
    mkdirSync(dirname(path), { recursive: true })
    // Readable by its owner alone: it holds what users thought.
    closeSync(openSync(path, 'a', 0o600))
  }
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA cache_size = -16384',
  )
  // 32 MB of changes between two checkpoints: a page that changes a hundred times is written to the file once.
  db.exec('PRAGMA wal_autocheckpoint = 8000')
  migrate(db)
  return db
}

/** SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE: the row is at fault, not the file. */
const ROW_AT_FAULT = [18, 19, 20, 25]

/** SQLITE_FULL, and SQLITE_IOERR, which a write-ahead log without room may end in. */
const NO_ROOM = [13, 10]

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
