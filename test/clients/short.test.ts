import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'
import { type Lane, startLane } from './lane.ts'

/** The checks whose client the repository has anyway, in the version that it has. */
const here = fileURLToPath(new URL('.', import.meta.url))

let lane: Lane
beforeAll(async () => {
  lane = await startLane()
})
afterAll(() => lane?.close())

test.each([
  ['ai-sdk', process.execPath, 'check.mjs', ['chat', 'completions', 'embeddings', 'messages', 'responses']],
  ['anthropic-node', process.execPath, 'check.mjs', ['messages']],
  ['openai-node', process.execPath, 'check.mjs', ['chat', 'completions', 'embeddings', 'responses']],
  ['openai-python', inVenv('python'), 'check.py', ['chat', 'completions', 'embeddings', 'responses']],
])(
  '%s',
  async (name, program, check, apis) => {
    await promisify(execFile)(program, [join(here, name, check)], { env: { ...process.env, ...lane.env(name) } })
    expect(await lane.apisOf(name, apis)).toEqual(apis)
  },
  120_000,
)
