import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { GatewayError } from '../errors.ts'
import { END } from '../runtime/end-worker.ts'
import type { ParseAnswer, ParseJob } from './parse-thread.ts'
import { parseRawBody } from './raw-body.ts'

const NICE = 5
// Of this thread alone; elsewhere it would be the whole process's.
if (process.platform === 'linux') setPriority(NICE)

parentPort?.on('message', (job: ParseJob | typeof END) => {
  if (job === END) parentPort?.close()
  else parentPort?.postMessage(answerTo(job), [job.bytes])
})

function answerTo({ bytes }: ParseJob): ParseAnswer {
  try {
    return { bytes, parsed: parseRawBody(Buffer.from(bytes)) }
  } catch (error) {
    const refused = error instanceof GatewayError ? { message: error.message, param: error.param } : null
    return { bytes, refused }
  }
}
