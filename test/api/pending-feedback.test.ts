import { expect, test, vi } from 'vitest'
import { PendingFeedback } from '../../src/api/pending-feedback.ts'
import { StoreError } from '../../src/store/store.ts'

const pending = () => {
  const lost: string[] = []
  return { lost, queue: new PendingFeedback({ lost: (tenant) => lost.push(tenant) }) }
}
const settled = (queue: PendingFeedback) => vi.waitFor(() => expect(queue.size).toBe(0), { timeout: 10_000 })

test('is tried until its answer is found', async () => {
  const { queue, lost } = pending()
  let tries = 0
  expect(queue.add('acme', async () => ++tries === 3, 60_000)).toBe(true)
  await settled(queue)
  expect([tries, lost]).toEqual([3, []])
})

test('is given up when its answer must have been there, and told', async () => {
  const { queue, lost } = pending()
  queue.add('acme', async () => false, 100)
  await settled(queue)
  expect(lost).toEqual(['acme'])
})

test('waits for a store that is away, however long its answer might have taken', async () => {
  const { queue, lost } = pending()
  let tries = 0
  const take = async () => {
    if (++tries < 4) throw new StoreError('away')
    return true
  }
  queue.add('acme', take, 1)
  await settled(queue)
  expect([tries, lost]).toEqual([4, []])
})

test('what can’t be taken for another reason is lost', async () => {
  const { queue, lost } = pending()
  queue.add('acme', () => Promise.reject(new Error('ambiguous')), 60_000)
  await settled(queue)
  expect(lost).toEqual(['acme'])
})

test('tries all once more when it closes, and takes nothing new', async () => {
  const { queue, lost } = pending()
  let found = false
  const tries: string[] = []
  for (const tenant of ['acme', 'other']) {
    const take = async () => {
      tries.push(tenant)
      return found && tenant === 'acme'
    }
    queue.add(tenant, take, 60_000)
  }
  found = true
  await queue.close()
  expect([tries.sort(), lost]).toEqual([['acme', 'other'], ['other']])
  expect(queue.add('acme', async () => true, 1)).toBe(false)
})

test('holds so much of a tenant, and no more', async () => {
  const { queue } = pending()
  const added = Array.from({ length: 1_001 }, () => queue.add('acme', async () => false, 60_000))
  expect(added.filter((taken) => !taken)).toHaveLength(1)
  expect(queue.add('other', async () => true, 60_000)).toBe(true)
  await queue.close()
  expect(queue.size).toBe(0)
})
