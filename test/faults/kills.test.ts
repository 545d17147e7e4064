import { once } from 'node:events'
import { expect, test } from 'vitest'
import { killLoop } from '../soak/kills.ts'
import { measured } from '../support/measured.ts'

/** More by `npm run soak -- --kills 50`. */
const KILLS = 3

// Stated window: none for a client that has the whole answer; a request that was cut off may have a record or none.
test('kill -9 of the gateway, of Redis and of both at random moments: whoever has the whole answer has one record', async () => {
  const report = await killLoop(KILLS)
  measured('kill -9 at random moments', JSON.stringify(report))
  expect(report.answered).toBeGreaterThan(KILLS)
  expect(report.lost).toEqual([])
  expect(report.doubled).toEqual([])
  expect(report.recorded).toBeLessThanOrEqual(report.requests)
}, 180_000)

test('out of memory under load: whoever has the whole answer has one record', async () => {
  const ends: unknown[] = []
  const hoarder = new URL('../support/out-of-memory.mjs', import.meta.url).href
  const report = await killLoop(1, {}, () => {}, {
    env: { NODE_OPTIONS: `--max-old-space-size=160 --import=${hoarder}` },
    end: async (gateway) => {
      gateway.process.kill('SIGWINCH')
      await once(gateway.process, 'exit')
      ends.push(gateway.process.signalCode, gateway.stderr())
    },
  })
  expect(ends).toEqual(['SIGABRT', expect.stringContaining('JavaScript heap out of memory')])
  expect(report.answered).toBeGreaterThan(0)
  expect(report.lost).toEqual([])
  expect(report.doubled).toEqual([])
  expect(report.recorded).toBeLessThanOrEqual(report.requests)
}, 180_000)
