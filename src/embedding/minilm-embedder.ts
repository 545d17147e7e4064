import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { endWorker } from '../runtime/end-worker.ts'
import { type Embedder, EmbedderError } from './embedder.ts'
import { type EmbedJob, type MinilmSpec, minilmSpecSchema, type WorkerAnswer } from './minilm-spec.ts'
import '../runtime/no-telemetry.ts'

export interface MinilmOptions {
  /** `auto`: CUDA where it can be had, else the CPU. */
  device?: 'auto' | 'cpu' | 'cuda'
  /** Texts waiting or in work; more are refused with `overload` and routed without a query. */
  maxQueue?: number
}

interface Waiting {
  resolve(vector: Float32Array): void
  reject(error: EmbedderError): void
}

/**
 * MiniLM through ONNX Runtime in a worker thread: milliseconds a text, during which the gateway's own thread is free.
 * The folder is made by `export_minilm` of the Python package.
 */
export class MinilmEmbedder implements Embedder {
  readonly version: string
  readonly dim: number
  readonly #maxQueue: number
  readonly #waiting = new Map<number, Waiting>()
  readonly #start: () => Worker
  #worker: Worker | null
  #nextId = 0
  #closed = false

  private constructor(spec: MinilmSpec, maxQueue: number, worker: Worker, start: () => Worker) {
    this.version = spec.version
    this.dim = spec.dim
    this.#maxQueue = maxQueue
    this.#start = start
    this.#worker = this.#attach(worker)
  }

  /** Resolves when the model is loaded. Throws `EmbedderError` (`load`). */
  static async load(folder: string, { device = 'auto', maxQueue = 64 }: MinilmOptions = {}): Promise<MinilmEmbedder> {
    try {
      const spec = minilmSpecSchema.parse(JSON.parse(await readFile(join(folder, 'embedder.json'), 'utf8')))
      if (spec.dim !== spec.columns + spec.features.list.length) throw new Error('dim is not columns plus features')
      const start = () =>
        new Worker(new URL('./minilm-worker.ts', import.meta.url), { workerData: { folder, spec, device } })
      const worker = start()
      await ready(worker)
      return new MinilmEmbedder(spec, maxQueue, worker, start)
    } catch (error) {
      throw new EmbedderError('load', `minilm embedder in ${folder}: ${(error as Error).message}`, error)
    }
  }

  embed(text: string): Promise<Float32Array> {
    if (this.#closed) return Promise.reject(new EmbedderError('closed', 'the embedder is closed'))
    if (this.#waiting.size >= this.#maxQueue) {
      return Promise.reject(new EmbedderError('overload', `${this.#maxQueue} texts wait for the embedder`))
    }
    this.#worker ??= this.#attach(this.#start())
    const job: EmbedJob = { id: this.#nextId++, text }
    return new Promise((resolve, reject) => {
      this.#waiting.set(job.id, { resolve, reject })
      this.#worker!.postMessage(job)
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#fail('the embedder is closed')
    if (this.#worker) await endWorker(this.#worker)
  }

  /** A worker that dies fails what waits for it; the next text starts another. */
  #attach(worker: Worker): Worker {
    worker.unref()
    worker.on('message', (answer: WorkerAnswer) => this.#settle(answer))
    worker.on('error', () => {})
    worker.on('exit', () => {
      this.#worker = null
      this.#fail('the embedder thread ended')
    })
    return worker
  }

  #fail(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(new EmbedderError('closed', why))
    this.#waiting.clear()
  }

  #settle(answer: WorkerAnswer): void {
    if (answer.kind === 'ready') return
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if (answer.kind === 'vector') waiting?.resolve(answer.vector)
    else waiting?.reject(new EmbedderError('upstream', answer.message))
  }
}

function ready(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      worker.off('message', onMessage)
      worker.off('error', onError)
      worker.off('exit', onExit)
    }
    const onMessage = (answer: WorkerAnswer) => {
      if (answer.kind !== 'ready') return
      stop()
      resolve()
    }
    const onError = (error: unknown) => {
      stop()
      reject(error)
    }
    const onExit = () => onError(new Error('the embedder thread ended'))
    worker.on('message', onMessage)
    worker.on('error', onError)
    worker.on('exit', onExit)
  })
}
