import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { END, endWorker } from '../../runtime/end-worker.ts'

/** A page that changes a hundred times between two checkpoints is written to the file once. */
export const CHECKPOINT_BYTES = 32 * 1024 * 1024
const IDLE_MS = 10_000
/** After a thread that could not start, or died. */
const NEXT_THREAD_MS = 60_000

export interface CheckpointJob {
  /** Leaves nothing in the log. */
  truncates: boolean
}

export interface Checkpoint {
  /** All was written back, and nothing was left where nothing was to be. */
  isDone: boolean
}

type Outcome = 'done' | 'busy' | 'no thread'

/**
 * Writes the write-ahead log back to the file, on a thread of its own: so much is written and synced then that the
 * event loop would stand still for tenths of a second. Where no thread can be had, SQLite does it later by itself, in a
 * commit; what was erased is taken out on this thread then.
 */
export class WriteAheadLog {
  readonly #path: string | null
  readonly #truncateHere: () => boolean
  readonly #atBytes: number
  #worker: Worker | null = null
  readonly #waiting: ((outcome: Outcome) => void)[] = []
  #idle: NodeJS.Timeout | undefined
  #nextThreadAt = 0
  /** Nothing was to be left in the log, and something may be: who reads it was in the way. */
  #owesTruncation = false
  /** All was written back when it was so large: it stays so until the next write. */
  #doneAtBytes = 0
  #isClosed = false

  /**
   * @param path of the database
   * @param truncateHere leaves nothing in the log, without a thread; false: something was in the way
   * @param atBytes from which size on it is written back
   */
  constructor(path: string, truncateHere: () => boolean, atBytes = CHECKPOINT_BYTES) {
    this.#path = path === ':memory:' ? null : path
    this.#truncateHere = truncateHere
    this.#atBytes = atBytes
  }

  /** Writes it back where it has grown large, and empties it where that is owed. To look takes some microseconds. */
  async look(): Promise<void> {
    if (this.#waiting.length > 0 || this.#path === null) return
    if (this.#owesTruncation) return this.empty()
    const bytes = sizeOf(`${this.#path}-wal`)
    if (bytes <= this.#atBytes || bytes === this.#doneAtBytes) return
    if ((await this.#run(false)) === 'done') this.#doneAtBytes = sizeOf(`${this.#path}-wal`)
  }

  /**
   * Writes back what is in it, and leaves nothing there. Never rejects: another process that reads may be in the way,
   * and then each `look` tries again until it is done.
   */
  async empty(): Promise<void> {
    if (this.#isClosed || this.#path === null) return
    const outcome = await this.#run(true)
    this.#owesTruncation = outcome === 'no thread' ? !this.#truncateHere() : outcome === 'busy'
  }

  async close(): Promise<void> {
    if (this.#owesTruncation) await this.empty()
    this.#isClosed = true
    clearTimeout(this.#idle)
    const worker = this.#worker
    if (worker) await endWorker(worker)
    this.#ended(worker)
  }

  #run(truncates: boolean): Promise<Outcome> {
    clearTimeout(this.#idle)
    if (this.#isClosed || performance.now() < this.#nextThreadAt) return Promise.resolve('no thread')
    return new Promise((done) => {
      try {
        this.#worker ??= this.#start(this.#path as string)
        this.#waiting.push(done)
        this.#worker.postMessage({ truncates } satisfies CheckpointJob)
        // Whoever waits is waited for.
        this.#worker.ref()
      } catch {
        this.#failed(this.#worker)
        done('no thread')
      }
    })
  }

  #start(path: string): Worker {
    const worker = new Worker(new URL('./wal-worker.ts', import.meta.url), { workerData: { path } })
    worker.on('message', ({ isDone }: Checkpoint) => {
      this.#waiting.shift()?.(isDone ? 'done' : 'busy')
      if (this.#waiting.length > 0) return
      worker.unref()
      this.#idle = setTimeout(() => this.#rest(), IDLE_MS).unref()
    })
    worker.on('error', () => this.#failed(worker))
    worker.on('exit', () => this.#ended(worker))
    return worker
  }

  #rest(): void {
    this.#worker?.postMessage(END)
    this.#worker = null
  }

  #failed(worker: Worker | null): void {
    this.#nextThreadAt = performance.now() + NEXT_THREAD_MS
    this.#ended(worker)
  }

  #ended(worker: Worker | null): void {
    if (this.#worker !== worker) return
    this.#worker = null
    for (const done of this.#waiting.splice(0)) done('no thread')
  }
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch {
    return 0
  }
}
