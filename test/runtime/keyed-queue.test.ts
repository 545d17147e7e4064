import { expect, it } from 'vitest'
import { KeyedQueue } from '../../src/runtime/keyed-queue.ts'

it('runs tasks of one key in order and of others beside them, whatever fails', async () => {
  const queue = new KeyedQueue()
  const events: string[] = []
  const task = (name: string, ms: number) => async () => {
    events.push(`${name} starts`)
    await new Promise((done) => setTimeout(done, ms))
    events.push(`${name} ends`)
    if (name === 'a1') throw new Error('a1 fails')
    return name
  }
  const results = await Promise.allSettled([
    queue.run('a', task('a1', 20)),
    queue.run('a', task('a2', 1)),
    queue.run('b', task('b1', 1)),
  ])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
  expect(events.indexOf('a2 starts')).toBeGreaterThan(events.indexOf('a1 ends'))
  expect(events.indexOf('b1 starts')).toBeLessThan(events.indexOf('a1 ends'))
})
