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
