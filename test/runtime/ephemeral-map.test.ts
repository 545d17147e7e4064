import { expect, it } from 'vitest'
import { EphemeralMap } from '../../src/runtime/ephemeral-map.ts'

it('keeps what was set, the latest of a key, until it is deleted', () => {
  const map = new EphemeralMap<number>()
  map.set('a', 1)
  map.set('b', 2)
  map.set('a', 3)
  expect([...map]).toEqual([
    ['a', 3],
    ['b', 2],
  ])
  expect(map.delete('a')).toBe(true)
  expect(map.delete('a')).toBe(false)
  expect(map.get('a')).toBeUndefined()
  expect(map.has('a')).toBe(false)
  expect(map.size).toBe(1)
})

it('forgets what was set first beyond its bound', () => {
  const map = new EphemeralMap<number>(2)
  for (const [i, key] of ['a', 'b', 'c', 'b', 'd'].entries()) map.set(key, i)
  expect([...map]).toEqual([
    ['c', 2],
    ['d', 4],
  ])
})

it('may lose entries while it is gone through', () => {
  const map = new EphemeralMap<number>()
  for (const key of ['a', 'b', 'c']) map.set(key, key.charCodeAt(0))
  const seen: string[] = []
  for (const [key] of map) {
    seen.push(key)
    map.delete('b')
  }
  expect(seen).toEqual(['a', 'c'])
})
