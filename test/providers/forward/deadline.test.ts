import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline } from '../../../src/providers/forward/deadline.ts'
import { hedge } from '../../../src/providers/forward/hedge.ts'
import { block } from '../../support/block.ts'
import { echo } from '../../support/echo.ts'

let wire: Awaited<ReturnType<typeof echo>>
beforeEach(async () => {
  wire = await echo()
})
afterEach(() => wire.close())

/** Sends a byte, and holds up the loop until long after its echo is in the socket. */
async function sendAndBlock(ms: number): Promise<void> {
  wire.client.write('?')
  await new Promise((resolve) => setImmediate(resolve))
  block(ms)
}

it('an answer that lies in the socket comes before the deadline', async () => {
  const outcome = new Promise<string>((resolve) => {
    const deadline = new Deadline(performance.now() + 20, () => resolve('passed'))
    wire.client.once('data', () => {
      deadline.clear()
      resolve('answered')
    })
  })
  await sendAndBlock(60)
  expect(await outcome).toBe('answered')
})

it('bytes that lie in the socket move it', async () => {
  let passedAt = 0
  const deadline = new Deadline(performance.now() + 20, () => {
    passedAt = performance.now()
  })
  let movedTo = 0
  wire.client.once('data', () => {
    movedTo = performance.now() + 100
    deadline.move(movedTo)
  })
  await sendAndBlock(60)
  await expect.poll(() => passedAt).toBeGreaterThan(0)
  expect(passedAt).toBeGreaterThanOrEqual(movedTo)
})

it('passes where nothing comes', async () => {
  const at = performance.now() + 20
  await new Promise<void>((resolve) => new Deadline(at, resolve))
  expect(performance.now()).toBeGreaterThanOrEqual(at)
})

it('hedges no try whose answer lies in the socket', async () => {
  let tries = 0
  const answer = () => {
    tries++
    return new Promise<string>((resolve) => wire.client.once('data', () => resolve('answered')))
  }
  const answered = hedge(answer, answer, 20, () => true)
  await sendAndBlock(60)
  expect(await answered).toBe('answered')
  expect(tries).toBe(1)
})
