import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'
import { type Case, casesOf, endpointOf, FramingTarget, type Reader, STREAMS } from './fuzz/framing.ts'
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

async function allHold(cases: readonly Case[], reader?: Reader, atOnce?: number) {
  const broken: string[] = []
  await target.runAll(cases, (error) => broken.push(error.message), reader, atOnce)
  expect(broken).toEqual([])
}

describe('a stream cut anywhere: the SDK sees the whole answer or an error, and the record says which', () => {
  test.each(Object.keys(STREAMS))('Node: %s', async (stream) => {
    const cases = casesOf(stream, SHARE, randomFrom(7))
    expect(cases.length).toBeGreaterThan(12)
    await allHold(cases)
  })

  test.skipIf(!existsSync(inVenv('python')))(
    'Python',
    async () => {
      const python = new PythonFraming(inVenv('python'))
      const random = randomFrom(11)
      // Anthropic's SDK is in the lane's own environment.
      const streams = Object.keys(STREAMS).filter((stream) => endpointOf(stream) !== 'messages')
      const cases = streams.flatMap((stream) => casesOf(stream, PYTHON_SHARE, random))
      await allHold(cases, (playing, where) => python.ask(playing, where), 4)
      python.stop()
      expect(cases.length).toBeGreaterThan(100)
    },
    120_000,
  )
})
