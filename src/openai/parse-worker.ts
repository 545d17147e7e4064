import { getPriority, setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { GatewayError } from '../errors.ts'
import { END } from '../runtime/end-worker.ts'
import { inOwnMemory } from '../runtime/own-memory.ts'
import type { Conversion } from './conversion.ts'
import type { ParseAnswer, ParseJob } from './parse-thread.ts'
import { parseRawBody } from './raw-body.ts'

const NICE = 5
// Of this thread alone; elsewhere it would be the whole process's.
if (process.platform === 'linux') stepBack()

/** A process that is nicer already stays so: who is not root may not take that back. */
function stepBack(): void {
  try {
    if (getPriority() < NICE) setPriority(NICE)
  } catch {
    // A sandbox forbids it: bodies are parsed all the same.
  }
}

parentPort?.on('message', (job: ParseJob | typeof END) => {
  if (job === END) parentPort?.close()
  else if (job.conversion) void convert(job.bytes, job.conversion).then(send)
  else send(answerTo(job))
})

const send = (answer: ParseAnswer) => parentPort?.postMessage(answer, [answer.bytes])

// It would never be answered.
parentPort?.on('messageerror', (error) => {
  throw error
})

function answerTo({ bytes }: ParseJob): ParseAnswer {
  try {
    return { bytes, parsed: parseRawBody(Buffer.from(bytes)) }
  } catch (error) {
    const refused = error instanceof GatewayError ? { message: error.message, param: error.param } : null
    return { bytes, refused }
  }
}

async function convert(bytes: ArrayBuffer, asked: NonNullable<ParseJob['conversion']>): Promise<ParseAnswer> {
  try {
    const exported = await import(asked.module)
    const conversion: Conversion<unknown, unknown> = exported[asked.name]
    const { body, told } = conversion.run(Buffer.from(bytes), asked.args)
    return { bytes: inOwnMemory(body).buffer, converted: { told } }
  } catch (error) {
    return { bytes, failedAt: framesOf(error) }
  }
}

/** Where an error comes from, without what it says. */
function framesOf(error: unknown): string[] {
  const { stack = '', message } = error instanceof Error ? error : new Error()
  return stack.replace(message, '').match(/^ {4}at .+$/gm) ?? []
}
