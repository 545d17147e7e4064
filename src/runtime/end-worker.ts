import type { Worker } from 'node:worker_threads'

/** The last message to a worker. */
export const END = 'end'

/** A run takes milliseconds, opening an artifact less than a second. */
const END_WITHIN_MS = 5_000

/**
 * Lets a worker finish its jobs and end by itself. A worker that `terminate` or `process.exit` cuts off in the middle
 * of a run can't hand over its results, and ONNX Runtime's binding aborts the whole process.
 */
export async function endWorker(worker: Worker): Promise<void> {
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  // The timer also keeps the process alive: workers are unreferenced.
  const timer = setTimeout(resolve, END_WITHIN_MS)
  worker.once('exit', () => resolve())
  worker.postMessage(END)
  await ended
  clearTimeout(timer)
}
