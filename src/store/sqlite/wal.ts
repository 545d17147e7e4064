import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { END, endWorker } from '../../runtime/end-worker.ts'

/** A page that changes a hundred times between two checkpoints is written to the file once. */
export const CHECKPOINT_BYTES = 32 * 1024 * 1024
/** Tells the thread that nobody of the process writes, until it has told that it is done. */
export const GO = 'go'
const IDLE_MS = 10_000
/** After a thread that could not start, or died. */
const NEXT_THREAD_MS = 60_000
/** Others write no longer than this for a thread that does not come to an end. */
const MOST_HELD_MS = 1_000
/** For a second: most that are in the way of emptying it, readers above all, are so for less. */
const TRIES = 20
const BETWEEN_MS = 50

export interface CheckpointJob {
  /** Leaves nothing in the log that was in it. */
  truncates: boolean
}

/** `ready`: the rest takes a moment, in which nobody is to write. */
export type ToldByWorker = 'ready' | { isDone: boolean }

/** Who writes to the file in this process. */
export interface Writers {
  /** Until `release` nobody writes. */
  hold(): void
  release(): void
  /** Leaves nothing in the log, without a thread. @returns false: something was in the way */
  truncateHere(): boolean
}

type Outcome = 'done' | 'busy' | 'no thread'
interface Asked extends CheckpointJob {
  told: Promise<Outcome>
  tell: (outcome: Outcome) => void
}

/**
 * Writes the write-ahead log back to the file, on a thread of its own: so much is written and synced then that the
 * event loop would stand still for tenths of a second. Nearly all of it is written back while others write. For the
 * last pages, and until the disk has the head of the new log, writes of this process wait for the thread; else they
 * would do so inside SQLite, and the event loop with them. Where no thread can be had, SQLite does it later by itself,
 * in a commit; what was erased is taken out on this thread then.
 */
export class WriteAheadLog {
  readonly #path: string | null
  readonly #writers: Writers
  readonly #atBytes: number
  #worker: Worker | null = null
  /** What is being done, and what comes next. */
  readonly #asked: Asked[] = []
  #idle: NodeJS.Timeout | undefined
  #held: NodeJS.Timeout | undefined
  #nextThreadAt = 0
  /** Nothing was to be left in the log, and something may be: who reads it was in the way. */
  #owesTruncation = false
  #isClosed = false

  /**
   * @param path of the database
   * @param atBytes from which size on it is written back
   */
  constructor(path: string, writers: Writers, atBytes = CHECKPOINT_BYTES) {
    this.#path = path === ':memory:' ? null : path
    this.#writers = writers
    this.#atBytes = atBytes
  }

  /** Writes it back where it has grown large, and empties it where that is owed. To look takes some microseconds. */
  async look(): Promise<void> {
    if (this.#asked.length > 0 || this.#path === null) return
    if (this.#owesTruncation) await this.#truncate(1)
    else if (sizeOf(`${this.#path}-wal`) > this.#atBytes) await this.#run({ truncates: false })
  }

  /**
   * Writes back what is in it, and leaves nothing of that there. Never rejects: another process that reads may be in
   * the way, and then each `look` tries again until it is done.
   */
  async empty(): Promise<void> {
    if (this.#isClosed || this.#path === null) return
    await this.#truncate(TRIES)
  }

  async close(): Promise<void> {
    if (this.#owesTruncation) await this.empty()
    this.#isClosed = true
    clearTimeout(this.#idle)
    const worker = this.#worker
    if (worker) await endWorker(worker)
    this.#ended(worker)
  }

  async #truncate(tries: number): Promise<void> {
    let outcome = await this.#run({ truncates: true })
    for (let i = 1; i < tries && outcome === 'busy'; i++) {
      await sleep(BETWEEN_MS)
      outcome = await this.#run({ truncates: true })
    }
    this.#owesTruncation = outcome === 'no thread' ? !this.#writers.truncateHere() : outcome === 'busy'
  }

  #run({ truncates }: CheckpointJob): Promise<Outcome> {
    if (this.#isClosed || performance.now() < this.#nextThreadAt) return Promise.resolve('no thread')
    // What has not begun yet is done for all who ask meanwhile.
    const same = this.#asked.slice(1).find((one) => one.truncates === truncates)
    if (same) return same.told
    const { promise: told, resolve: tell } = Promise.withResolvers<Outcome>()
    this.#asked.push({ truncates, told, tell })
    if (this.#asked.length === 1) this.#begin()
    return told
  }

  #begin(): void {
    const [{ truncates } = { truncates: false }] = this.#asked
    clearTimeout(this.#idle)
    try {
      this.#worker ??= this.#start(this.#path as string)
      this.#worker.postMessage({ truncates } satisfies CheckpointJob)
      // Whoever waits is waited for.
      this.#worker.ref()
    } catch {
      this.#failed(this.#worker)
    }
  }

  #start(path: string): Worker {
    const worker = new Worker(new URL('./wal-worker.ts', import.meta.url), {
      workerData: { path, bytes: this.#atBytes },
    })
    worker.on('message', (told: ToldByWorker) => {
      if (this.#worker !== worker) return
      if (told === 'ready') {
        this.#writers.hold()
        this.#held = setTimeout(() => this.#letGo(), MOST_HELD_MS).unref()
        worker.postMessage(GO)
      } else this.#told(worker, told.isDone ? 'done' : 'busy')
    })
    worker.on('error', () => this.#failed(worker))
    worker.on('exit', () => this.#ended(worker))
    return worker
  }

  #told(worker: Worker, outcome: Outcome): void {
    this.#letGo()
    this.#asked.shift()?.tell(outcome)
    if (this.#asked.length > 0) this.#begin()
    else {
      worker.unref()
      this.#idle = setTimeout(() => this.#rest(), IDLE_MS).unref()
    }
  }

  #letGo(): void {
    clearTimeout(this.#held)
    this.#writers.release()
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
    this.#letGo()
    for (const { tell } of this.#asked.splice(0)) tell('no thread')
  }
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch {
    return 0
  }
}
