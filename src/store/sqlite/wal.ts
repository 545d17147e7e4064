import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { END, endWorker } from '../../runtime/end-worker.ts'

/** A page that changes a hundred times between two checkpoints is written to the file once. */
export const CHECKPOINT_BYTES = 32 * 1024 * 1024
const IDLE_MS = 10_000

export interface CheckpointJob {
  /** Leaves nothing in the log. */
  truncates: boolean
}

export interface Checkpoint {
  isDone: boolean
}

/**
 * Writes the write-ahead log back to the file, on a thread of its own: so much is written and synced then that the
 * event loop would stand still for tenths of a second. Where no thread can be had, SQLite does it later by itself, in a
 * commit.
 */
export class WriteAheadLog {
  readonly #path: string | null
  #worker: Worker | null = null
  readonly #waiting: { truncates: boolean; done: () => void }[] = []
  #idle: NodeJS.Timeout | undefined
  #isClosed = false

  readonly #atBytes: number

  /** @param path of the database @param atBytes from which size on it is written back */
  constructor(path: string, atBytes = CHECKPOINT_BYTES) {
    this.#path = path === ':memory:' ? null : path
    this.#atBytes = atBytes
  }

  /** Writes it back where it has grown large. To look takes some microseconds. */
  async look(): Promise<void> {
    if (this.#waiting.length > 0 || this.#path === null) return
    if (sizeOf(`${this.#path}-wal`) > this.#atBytes) await this.#run(false)
  }

  /**
   * Writes back what is in it, and leaves nothing there. Never rejects: another process that reads may be in the way,
   * and the next checkpoint does it then.
   */
  empty(): Promise<void> {
    return this.#run(true)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#idle)
    const worker = this.#worker
    if (worker) await endWorker(worker)
    this.#ended(worker)
  }

  #run(truncates: boolean): Promise<void> {
    if (this.#isClosed || this.#path === null) return Promise.resolve()
    clearTimeout(this.#idle)
    return new Promise((done) => {
      try {
        this.#worker ??= this.#start(this.#path as string)
        this.#waiting.push({ truncates, done })
        this.#worker.postMessage({ truncates } satisfies CheckpointJob)
        // Whoever waits is waited for.
        this.#worker.ref()
      } catch {
        this.#ended(this.#worker)
        done()
      }
    })
  }

  #start(path: string): Worker {
    const worker = new Worker(new URL('./wal-worker.ts', import.meta.url), { workerData: { path } })
    worker.on('message', () => {
      this.#waiting.shift()?.done()
      if (this.#waiting.length > 0) return
      worker.unref()
      this.#idle = setTimeout(() => this.#rest(), IDLE_MS).unref()
    })
    worker.on('error', () => this.#ended(worker))
    worker.on('exit', () => this.#ended(worker))
    return worker
  }

  #rest(): void {
    this.#worker?.postMessage(END)
    this.#worker = null
  }

  #ended(worker: Worker | null): void {
    if (this.#worker !== worker) return
    this.#worker = null
    for (const { done } of this.#waiting.splice(0)) done()
  }
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch {
    return 0
  }
}
