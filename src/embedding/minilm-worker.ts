import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { hasCudaLibraries } from '../runtime/cuda.ts'
import { END } from '../runtime/end-worker.ts'
import { InferenceSession, Tensor } from '../runtime/onnxruntime.ts'
import { clipText } from './clip-text.ts'
import { writeFeatures } from './features.ts'
import type { EmbedJob, MinilmSpec, WorkerAnswer } from './minilm-spec.ts'
import { type TokenizerFile, WordPiece } from './word-piece.ts'

/** Runs the transformer on a thread of its own: `session.run` blocks the thread it is called on, for milliseconds. */
const { folder, spec, device } = workerData as { folder: string; spec: MinilmSpec; device: 'auto' | 'cpu' | 'cuda' }
const tokenizer = new WordPiece(JSON.parse(await readFile(join(folder, spec.tokenizer), 'utf8')) as TokenizerFile, {
  keepUnknown: true,
})
const session = await openSession()
// One job after the other: run at once by ONNX Runtime, each would only be slower.
let queue = Promise.resolve()
let ended = false

parentPort!.on('message', (job: EmbedJob | typeof END) => {
  ended ||= job === END
  queue = queue.then(async () => {
    if (job === END) parentPort!.close()
    else if (!ended) await answer(job)
  })
})
send({ kind: 'ready' })

async function answer({ id, text }: EmbedJob): Promise<void> {
  try {
    const vector = await embed(text)
    parentPort!.postMessage({ kind: 'vector', id, vector } satisfies WorkerAnswer, [vector.buffer])
  } catch (error) {
    send({ kind: 'failed', id, message: (error as Error).message })
  }
}

async function embed(text: string): Promise<Float32Array<ArrayBuffer>> {
  const clipped = clipText(text, spec.max_chars)
  const ids = tokenizer.encode(clipped).subarray(0, spec.max_tokens - 2)
  const tokens = BigInt64Array.from([spec.begin_token, ...ids, spec.end_token], BigInt)
  const { vector } = await session.run({
    input_ids: new Tensor('int64', tokens, [1, tokens.length]),
    attention_mask: new Tensor('int64', new BigInt64Array(tokens.length).fill(1n), [1, tokens.length]),
  })
  const out = new Float32Array(spec.dim)
  out.set(vector!.data as Float32Array)
  writeFeatures(clipped, text.length, spec.features, out, spec.columns)
  if (!out.every(Number.isFinite)) throw new Error('the transformer gave a vector that is not finite')
  return out
}

async function openSession(): Promise<InferenceSession> {
  const model = join(folder, spec.model)
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 } as const
  if (device === 'cuda' || (device === 'auto' && hasCudaLibraries())) {
    try {
      return await InferenceSession.create(model, { ...options, executionProviders: ['cuda', 'cpu'] })
    } catch (error) {
      if (device === 'cuda') throw error
    }
  }
  return InferenceSession.create(model, { ...options, executionProviders: ['cpu'] })
}

function send(message: WorkerAnswer): void {
  parentPort!.postMessage(message)
}
