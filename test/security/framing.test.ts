import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'
import { type Case, casesOf, check, FramingTarget, type Seen, STREAMS, wholeOf } from './fuzz/framing.ts'
import { randomFrom } from './fuzz/targets.ts'

/** Every cut: `npm run fuzz -- framing`. */
const SHARE = 0.03
const PYTHON_SHARE = 0.003

let target: FramingTarget
beforeAll(async () => {
  target = await FramingTarget.start()
  await target.learn()
})
afterAll(() => target?.stop())

describe('a stream cut anywhere: the SDK sees the whole answer or an error, and the record says which', () => {
  test.each(Object.keys(STREAMS))('Node: %s', async (stream) => {
    const cases = casesOf(stream, SHARE, randomFrom(7))
    expect(cases.length).toBeGreaterThan(12)
    for (const playing of cases) await target.run(playing)
  })

  const script = fileURLToPath(new URL('../e2e/python/framing.py', import.meta.url))
  test.skipIf(!existsSync(inVenv('python')))(
    'Python',
    async () => {
      const child = spawn(inVenv('python'), [script], { stdio: ['pipe', 'pipe', 'inherit'] })
      const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
      const ask = async (playing: Case, baseURL: string): Promise<Seen> => {
        child.stdin.write(`${baseURL} ${playing.usage ? 'yes' : 'no'}\n`)
        return JSON.parse((await lines.next()).value ?? 'null')
      }
      const random = randomFrom(11)
      const cases = Object.keys(STREAMS).flatMap((stream) => casesOf(stream, PYTHON_SHARE, random))
      for (const playing of cases) {
        const { baseURL, noted } = target.prepare(playing)
        const seen = await ask(playing, baseURL)
        check(playing, seen, await noted(), wholeOf(playing.stream))
      }
      child.stdin.end()
      expect(cases.length).toBeGreaterThan(100)
    },
    120_000,
  )
})
