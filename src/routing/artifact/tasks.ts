import { z } from 'zod'
import type { Tasks } from '../choose/tasks.ts'
import { ArtifactError } from './error.ts'

/** In an artifact; older ones have none. */
export const TASKS_FILE = 'embedder/tasks.json'

/** As a kind of task is named: no name that every object has a property of. */
export const TASK_NAME = /^(?!constructor$)[a-z][a-z0-9_]{0,63}$/

const schema = z.object({
  names: z.array(z.string().regex(TASK_NAME)).min(1).max(32),
  bias: z.array(z.number()),
  /** Float32 in base64, little-endian. */
  weights: z.base64(),
})

/** @param dim E @throws ArtifactError */
export function readTasks(text: string, dim: number): Tasks {
  const { data, error } = schema.safeParse(parsed(text))
  if (!data) throw new ArtifactError('tasks', z.prettifyError(error))
  const { names, bias } = data
  const bytes = Uint8Array.from(Buffer.from(data.weights, 'base64'))
  const weights = bytes.length % 4 === 0 ? new Float32Array(bytes.buffer) : null
  if (bias.length !== names.length || weights?.length !== names.length * dim || !weights.every(Number.isFinite)) {
    throw new ArtifactError('tasks', `${TASKS_FILE} has not ${names.length} x (${dim} + 1) finite numbers`)
  }
  return { names, bias, weights }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
