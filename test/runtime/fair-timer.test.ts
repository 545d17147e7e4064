import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { FairTimer, fairTimeout } from '../../src/runtime/fair-timer.ts'
import { inTime } from '../../src/runtime/in-time.ts'
import { block } from '../support/block.ts'
import { echo } from '../support/echo.ts'

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('a fair timer', () => {
  it('passes once, after its time, and not when it was cleared', async () => {
    let passed = 0
    const from = performance.now()
    const timer = new FairTimer(50, () => passed++)
    const cleared = new FairTimer(1, () => passed++)
    cleared.clear()
    while (passed === 0) await sleep(1)
    expect(performance.now() - from).toBeGreaterThanOrEqual(49)
    await sleep(60)
    expect(passed).toBe(1)
    timer.refresh()
    while (passed === 1) await sleep(1)
  })

  it('begins again when it is refreshed', async () => {
    let passed = false
    const timer = new FairTimer(40, () => {
      passed = true
    })
    for (let i = 0; i < 8; i++) {
      await sleep(10)
      expect(passed).toBe(false)
      timer.refresh()
    }
    timer.clear()
  })

  it('lets what has arrived be heard first, however long the loop was held up', async () => {
    const { client, close } = await echo()
    try {
      for (let i = 0; i < 5; i++) {
        let heard = false
        const outcome = new Promise<string>((resolve) => {
          const timer = new FairTimer(20, () => resolve(heard ? 'heard, but late' : 'given up'))
          client.once('data', () => {
            heard = true
            timer.clear()
            resolve('heard')
          })
        })
        client.write('?')
        // The bytes are on their way before, and the answer in the socket after it.
        await new Promise((resolve) => setImmediate(resolve))
        block(100)
        expect(await outcome).toBe('heard')
      }
    } finally {
      await close()
    }
  })

  it('counts a loop that is held up as a part of the wait only', async () => {
    let passed = false
    const timer = new FairTimer(200, () => {
      passed = true
    })
    block(400)
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve))
    expect(passed).toBe(false)
    timer.clear()
  })

  it('is over on time where nobody answers, though the loop is busy by turns', async () => {
    const from = performance.now()
    const busy = setInterval(() => block(10), 15)
    const late = await inTime(new Promise<string>(() => {}), 200, () => 'late')
    clearInterval(busy)
    expect(late).toBe('late')
    const took = performance.now() - from
    expect(took).toBeGreaterThanOrEqual(199)
    // Each of the parts may wait for a turn of 10 ms, and then some on a machine that has others to serve.
    expect(took).toBeLessThan(2_000)
  })
})

it('a fair time-out aborts as the platform’s does', async () => {
  const signal = fairTimeout(5)
  const from = performance.now()
  // Its timer keeps nothing alive.
  const stay = setTimeout(() => {}, 10_000)
  await once(signal, 'abort')
  clearTimeout(stay)
  expect(performance.now() - from).toBeLessThan(5_000)
  expect(signal.reason).toMatchObject({ name: 'TimeoutError' })
})
