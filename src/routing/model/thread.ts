import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { endWorker } from '../../runtime/end-worker.ts'
import '../../runtime/no-telemetry.ts'
import { ArtifactError } from '../artifact/error.ts'
import type { ArtifactFiles } from '../artifact/types.ts'
import type { BeliefJob, Believed, SentTensors } from './belief-job.ts'
import { type Answer, type Job, type LearningGraph, MODEL_THREAD, type Results } from './jobs.ts'

/** What was loaded, and its name in the thread. */
interface Loaded {
  key: number
  files: ArtifactFiles
  /** Its graphs are sound. Rejects with an ArtifactError */
  opened: Promise<unknown>
}

interface Waiting {
  resolve: (result: never) => void
  reject: (error: Error) => void
}

const IDLE_MS = 60_000

/**
 * Code that was compiled for an earlier start (`bin/compile-cache.mjs`) is looked for by each thread for itself. All of
 * this one's is loaded by the main thread as well (`main.ts`), and kept: else it would load Node's TypeScript compiler,
 * 20 MB, at every start of the sources.
 */
const cacheDir = getCompileCacheDir()
const ENTRY = `
  const { enableCompileCache } = require('node:module')
  const kept = ${JSON.stringify(cacheDir === undefined ? null : dirname(cacheDir))}
  if (kept) enableCompileCache(kept)
  import(${JSON.stringify(new URL('./worker.ts', import.meta.url).href)})
`

/** The process's one model thread; see `worker.ts`. It starts on demand, and again after it has died. */
class ModelThread {
  #worker: Worker | null = null
  readonly #waiting = new Map<number, Waiting>()
  /** Artifacts that the running thread has open. */
  readonly #open = new Set<number>()
  #foreseen: { directory: string; publicKey: string | null; loading: Promise<Loaded> } | null = null
  #idle: NodeJS.Timeout | undefined
  /** Of a thread that goes because it has nothing to do. */
  #ending: Promise<void> | undefined
  #nextId = 0
  #nextKey = 0
  #closed = false

  /** Starts the thread, which loads its own code while the process's main thread loads its own. */
  warmUp(): void {
    if (!this.#closed) this.#worker ??= this.#start()
  }

  /** Begins to load what `load` will be asked for first: a process that starts has other things to do meanwhile. */
  foresee(directory: string, publicKey: string | null): void {
    const loading = this.#load(directory, publicKey)
    loading.catch(() => {})
    this.#foreseen = { directory, publicKey, loading }
  }

  /** @throws ArtifactError */
  load(directory: string, publicKey: string | null = null): Promise<Loaded> {
    const foreseen = this.#foreseen
    this.#foreseen = null
    if (foreseen?.directory === directory && foreseen.publicKey === publicKey) return foreseen.loading
    foreseen?.loading.then(({ key }) => this.release(key)).catch(() => {})
    return this.#load(directory, publicKey)
  }

  async #load(directory: string, publicKey: string | null): Promise<Loaded> {
    const key = this.#nextKey++
    const loading = this.#ask({ op: 'load', key, directory, publicKey })
    const opened = this.#ask({ op: 'open', key })
    opened.catch(() => {})
    const files = await loading
    this.#open.add(key)
    return { key, files, opened }
  }

  run(key: number, files: ArtifactFiles, graph: LearningGraph, feeds: SentTensors): Promise<SentTensors> {
    return this.#askOf(key, files, { op: 'run', key, graph, feeds })
  }

  /** What it is given is handed over, not copied. */
  believe(key: number, files: ArtifactFiles, job: BeliefJob): Promise<Believed> {
    const given = [...Object.values(job.rewards).map(({ data }) => data), ...(job.sums ? [job.sums] : [])]
    return this.#askOf(
      key,
      files,
      { op: 'believe', key, job },
      given.map(({ buffer }) => buffer as ArrayBuffer),
    )
  }

  async #askOf<J extends Job>(key: number, files: ArtifactFiles, job: J, give?: ArrayBuffer[]) {
    // Jobs run in order: this one follows it without waiting here.
    const opening = this.#open.has(key) ? null : this.#ask({ op: 'open', key, files })
    this.#open.add(key)
    // Else it counted as open for as long as the thread lives.
    opening?.catch(() => this.#open.delete(key))
    const [result] = await Promise.all([this.#ask(job, give), opening])
    return result
  }

  release(key: number): void {
    if (this.#open.delete(key)) this.#ask({ op: 'release', key }).catch(() => {})
  }

  /** Ends the thread after its pending jobs; the next job starts another. */
  async stop(): Promise<void> {
    if (this.#worker) await endWorker(this.#worker)
  }

  /** As `stop`, for good: to be awaited before the process ends. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([this.#ending, this.stop()])
  }

  #ask<J extends Job>(job: J, give: ArrayBuffer[] = []): Promise<Results[J['op']]> {
    if (this.#closed) return Promise.reject(new Error('The model thread is closed.'))
    clearTimeout(this.#idle)
    this.#worker ??= this.#start()
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      // A process that waits for nothing else must not end before the answer.
      if (this.#waiting.size === 0) this.#worker?.ref()
      this.#waiting.set(id, { resolve, reject })
      this.#worker?.postMessage({ id, job }, give)
    })
  }

  #start(): Worker {
    const worker = new Worker(ENTRY, { eval: true, workerData: MODEL_THREAD })
    worker.unref()
    worker.on('message', (answer: Answer) => this.#settle(answer))
    worker.on('error', (error: Error) => this.#died(worker, error))
    worker.on('exit', () => this.#died(worker, new Error('The model thread ended.')))
    return worker
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if (this.#waiting.size === 0) this.#rest()
    if ('result' in answer) waiting?.resolve(answer.result as never)
    else waiting?.reject(errorOf(answer))
  }

  /** Nothing to do: the thread goes after a while, with its 50 MB; the next job starts another within 0.2 s. */
  #rest(): void {
    this.#worker?.unref()
    this.#idle = setTimeout(() => {
      const worker = this.#worker
      // A job that comes now is the next one's.
      this.#worker = null
      this.#open.clear()
      if (worker) this.#ending = endWorker(worker)
    }, IDLE_MS).unref()
  }

  #died(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = null
    this.#open.clear()
    const failed = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of failed) reject(error)
  }
}

/** Messages of artifact errors begin with their check already. */
const errorOf = ({ error, check }: Extract<Answer, { error: string }>) =>
  check === null ? new Error(error) : new ArtifactError(check, error.replace(`${check}: `, ''))

export const modelThread = new ModelThread()
