import { Worker } from 'node:worker_threads'
import { endWorker } from '../../runtime/end-worker.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import { ArtifactError } from '../artifact/error.ts'
import type { ArtifactFiles, Graph } from '../artifact/types.ts'
import { type Answer, type Job, type LearningGraph, type Results, type SentTensors, send } from './jobs.ts'

interface Waiting {
  resolve: (result: never) => void
  reject: (error: Error) => void
}

/** The process's one model thread; see `worker.ts`. It starts on demand, and again after it has died. */
class ModelThread {
  #worker: Worker | null = null
  readonly #waiting = new Map<number, Waiting>()
  /** Artifacts that the running thread has open. */
  readonly #open = new Set<number>()
  #nextId = 0
  #nextKey = 0
  #closed = false

  /** @throws ArtifactError */
  async load(directory: string, publicKey: string | null = null): Promise<{ key: number; files: ArtifactFiles }> {
    const key = this.#nextKey++
    const files = await this.#ask({ op: 'load', key, directory, publicKey })
    this.#open.add(key)
    return { key, files }
  }

  async run(key: number, files: ArtifactFiles, graph: LearningGraph, feeds: SentTensors): Promise<SentTensors> {
    // Jobs run in order: the run follows it without waiting here.
    const opening = this.#open.has(key) ? null : this.#ask({ op: 'open', key, files })
    this.#open.add(key)
    const [result] = await Promise.all([this.#ask({ op: 'run', key, graph, feeds }), opening])
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
    await this.stop()
  }

  #ask<J extends Job>(job: J): Promise<Results[J['op']]> {
    if (this.#closed) return Promise.reject(new Error('The model thread is closed.'))
    this.#worker ??= this.#start()
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      // A process that waits for nothing else must not end before the answer.
      if (this.#waiting.size === 0) this.#worker?.ref()
      this.#waiting.set(id, { resolve, reject })
      this.#worker?.postMessage({ id, job })
    })
  }

  #start(): Worker {
    const worker = new Worker(new URL('./worker.ts', import.meta.url))
    worker.unref()
    worker.on('message', (answer: Answer) => this.#settle(answer))
    worker.on('error', (error: Error) => this.#died(worker, error))
    worker.on('exit', () => this.#died(worker, new Error('The model thread ended.')))
    return worker
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if (this.#waiting.size === 0) this.#worker?.unref()
    if ('result' in answer) waiting?.resolve(answer.result as never)
    else waiting?.reject(errorOf(answer))
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

/** A graph of an artifact that the model thread has loaded. */
export const remoteGraph = (key: number, files: ArtifactFiles, graph: LearningGraph): Graph => ({
  async run(feeds) {
    const outputs = await modelThread.run(key, files, graph, send(feeds))
    return Object.fromEntries(
      Object.entries(outputs).map(([name, { data, dims }]) => [
        name,
        new Tensor('float32', data as Float32Array, dims),
      ]),
    )
  },
})
