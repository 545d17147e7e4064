import { expect, it } from 'vitest'
import { Admission } from '../../src/pipeline/admission.ts'

const signal = new AbortController().signal

/** Whether a request would have to wait, found by one that comes and leaves. */
function isFull(admission: Admission): boolean {
  const leaver = new AbortController()
  const waiting = admission.enter(0, leaver.signal)
  if (waiting) waiting.catch(() => undefined)
  else admission.leave()
  leaver.abort()
  return waiting !== undefined
}

it('admits up to the limit, queues the rest by priority, in order of arrival within a priority', async () => {
  const admission = new Admission({ maxConcurrent: 1, maxQueue: 10 })
  const order: string[] = []
  await admission.enter(5, signal)
  const waiting = [
    ['low', 1],
    ['high', 9],
    ['middle', 5],
    ['middle 2', 5],
  ].map(([name, priority]) => admission.enter(priority as number, signal)?.then(() => order.push(name as string)))
  expect(admission.queued).toBe(4)
  for (let i = 0; i < 4; i++) {
    admission.leave()
    await new Promise(setImmediate)
  }
  await Promise.all(waiting)
  expect(order).toEqual(['high', 'middle', 'middle 2', 'low'])
  expect(admission.queued).toBe(0)
  expect(isFull(admission)).toBe(true)
  admission.leave()
  expect(isFull(admission)).toBe(false)
})

it('refuses with 503 when the queue is full, the lowest priority first', async () => {
  const admission = new Admission({ maxConcurrent: 1, maxQueue: 1 })
  await admission.enter(5, signal)
  const low = admission.enter(1, signal)
  await expect(admission.enter(1, signal)).rejects.toMatchObject({ status: 503, code: 'overloaded', retryAfterS: 1 })
  const high = admission.enter(9, signal)
  await expect(low).rejects.toMatchObject({ status: 503 })
  admission.leave()
  await high
})

it('a client that leaves while it waits gives up its place', async () => {
  const admission = new Admission({ maxConcurrent: 1, maxQueue: 1 })
  await admission.enter(5, signal)
  const leaver = new AbortController()
  const left = admission.enter(5, leaver.signal)
  leaver.abort()
  await expect(left).rejects.toMatchObject({ status: 503 })
  expect(admission.queued).toBe(0)
  admission.leave()
  expect(isFull(admission)).toBe(false)
})
