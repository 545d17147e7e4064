import { expect, test } from 'vitest'
import { LearnLater } from '../../src/learning/learn-later.ts'
import { StoreError } from '../../src/store/store.ts'
import { until } from '../support/redis.ts'

test("a tenant whose part of the store is away keeps nobody else's rewards waiting; its own are learned in order", async () => {
  const later = new LearnLater({ log: { warn() {}, error() {} } as never, everyMs: 1 })
  const learned: string[] = []
  let isAway = true
  let tries = 0
  const task = (tenant: string, name: string) => async () => {
    if (tenant === 'gone' && isAway) {
      tries++
      throw new StoreError('away')
    }
    if (name === 'broken') throw new TypeError('broken')
    learned.push(name)
  }
  for (const name of ['first', 'second', 'broken']) later.add('gone', 'ann', task('gone', name))
  for (const name of ['third', 'broken', 'fourth']) later.add('here', 'ann', task('here', name))
  later.add('gone', 'bob', task('gone', 'forgotten'))
  await until(() => learned.length === 2)
  expect(learned).toEqual(['third', 'fourth'])
  await until(() => tries >= 2)
  later.forget('gone', 'bob')
  isAway = false
  await until(() => learned.length === 4)
  expect(learned.slice(2)).toEqual(['first', 'second'])
  later.close()
})

test('a tenant that has most waiting gives up its last for one that has less; nobody for one that has as much', async () => {
  const later = new LearnLater({ log: { warn() {}, error() {} } as never, everyMs: 1, max: 6 })
  const learned: string[] = []
  let isAway = true
  const add = (tenant: string, name: string) =>
    later.add(tenant, 'ann', async () => {
      if (isAway) throw new StoreError('away')
      learned.push(name)
    })
  for (let i = 0; i < 8; i++) add('loud', `loud-${i}`)
  for (let i = 0; i < 4; i++) add('calm', `calm-${i}`)
  isAway = false
  await until(() => learned.length >= 6)
  expect(learned).toEqual(['loud-0', 'calm-0', 'loud-1', 'calm-1', 'loud-2', 'calm-2'])
  later.close()
})

test('who is erased while theirs is being learned takes nobody else’s reward along', async () => {
  const later = new LearnLater({ log: { warn() {}, error() {} } as never, everyMs: 1 })
  const learned: string[] = []
  const held = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  later.add('acme', 'ann', () => {
    begun.resolve()
    return held.promise
  })
  for (const name of ['second', 'third']) later.add('acme', 'bob', async () => learned.push(name))
  await begun.promise
  later.forget('acme', 'ann')
  held.resolve()
  await until(() => learned.length === 2)
  expect(learned).toEqual(['second', 'third'])
  later.close()
})

test('it is said that rewards are left to the log, also where one that waits is given up for another', () => {
  const said: unknown[] = []
  const log = { warn: (...about: unknown[]) => said.push(about), error() {} }
  const later = new LearnLater({ log: log as never, everyMs: 60_000, max: 2 })
  const add = (tenant: string) => later.add(tenant, 'ann', async () => {})
  for (const tenant of ['loud', 'loud']) add(tenant)
  expect(said).toEqual([])
  add('calm')
  expect(said).toHaveLength(1)
  later.close()
})
