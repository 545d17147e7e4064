import { expect, it } from 'vitest'
import { inTime } from '../../src/runtime/in-time.ts'

const never = new Promise<string>(() => {})

it('gives what comes in time, and what it is told to when nothing does', async () => {
  expect(await inTime(Promise.resolve('done'), 1_000, () => 'late')).toBe('done')
  expect(await inTime(never, 1, () => 'late')).toBe('late')
})

it('throws what the work throws, and what `late` throws', async () => {
  const broken = Promise.reject(new Error('broken'))
  await expect(inTime(broken, 1_000, () => 'late')).rejects.toThrow('broken')
  const refuse = () => {
    throw new Error('too late')
  }
  await expect(inTime(never, 1, refuse)).rejects.toThrow('too late')
})

it('looks at what arrived while the event loop was held up', async () => {
  const work = new Promise<string>((resolve) => setImmediate(() => resolve('arrived')))
  const outcome = inTime(work, 5, () => 'late')
  const until = performance.now() + 15
  while (performance.now() < until);
  expect(await outcome).toBe('arrived')
})
