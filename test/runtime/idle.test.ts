import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { giveMemoryBack, whenIdle } from '../../src/runtime/idle.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('rests once in each time without work, and not while there is some', () => {
  const work = { size: 0, begun: 0 }
  const rest = vi.fn()
  const stop = whenIdle(work, rest, { firstMs: 10, everyMs: 100 })
  vi.advanceTimersByTime(10)
  expect(rest).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(500)
  expect(rest).toHaveBeenCalledTimes(1)
  work.begun++
  vi.advanceTimersByTime(100)
  expect(rest).toHaveBeenCalledTimes(1)
  work.size = 1
  vi.advanceTimersByTime(300)
  expect(rest).toHaveBeenCalledTimes(1)
  work.size = 0
  vi.advanceTimersByTime(100)
  expect(rest).toHaveBeenCalledTimes(2)
  stop()
  work.begun++
  vi.advanceTimersByTime(1_000)
  expect(rest).toHaveBeenCalledTimes(2)
})

test('memory that nothing refers to is gone', () => {
  const lost = (() => new WeakRef({ bytes: new Uint8Array(1024) }))()
  vi.useRealTimers()
  return new Promise<void>((done) =>
    setTimeout(() => {
      giveMemoryBack()
      expect(lost.deref()).toBeUndefined()
      done()
    }),
  )
})
