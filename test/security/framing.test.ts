import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'
import { casesOf, check, endpointOf, FramingTarget, STREAMS, wholeOf } from './fuzz/framing.ts'
import { PythonFraming } from './fuzz/python.ts'
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

  test.skipIf(!existsSync(inVenv('python')))(
    'Python',
    async () => {
      const python = new PythonFraming(inVenv('python'))
      const random = randomFrom(11)
      // Anthropic's SDK is in the lane's own environment.
      const streams = Object.keys(STREAMS).filter((stream) => endpointOf(stream) !== 'messages')
      const cases = streams.flatMap((stream) => casesOf(stream, PYTHON_SHARE, random))
      for (const playing of cases) {
        const { baseURL, noted } = target.prepare(playing)
        const seen = await python.ask(playing, baseURL)
        check(playing, seen, await noted(), wholeOf(playing.stream))
      }
      python.stop()
      expect(cases.length).toBeGreaterThan(100)
    },
    120_000,
  )
})
