import { expect, test } from 'vitest'
import { Scrapes } from '../../src/observability/scrapes.ts'

test('metrics are written down ten times a second at most, and then once for all who wait for the next', async () => {
  let [now, written] = [0, 0]
  const waits: (() => void)[] = []
  const scrapes = new Scrapes(
    async () => `text ${++written}`,
    () => now,
    (ms) =>
      new Promise<void>((resume) => {
        waits.push(() => {
          now += ms
          resume()
        })
      }),
  )
  const asked = Array.from({ length: 300 }, () => scrapes.text())
  const first = Array.from({ length: 10 }, (_, i) => `text ${i + 1}`)
  expect(await Promise.all(asked.slice(0, 10))).toEqual(first)
  now = 900
  const late = scrapes.text()
  expect([written, waits.length]).toEqual([10, 1])
  waits[0]?.()
  // Written after the last of them has asked.
  expect(new Set(await Promise.all([...asked.slice(10), late]))).toEqual(new Set(['text 11']))
  for (let i = 0; i < 9; i++) expect(await scrapes.text()).toBe(`text ${12 + i}`)
  void scrapes.text()
  expect([written, waits.length]).toEqual([20, 2])
})

test('what fails is told to those who waited for it alone', async () => {
  let isBroken = true
  const write = () => (isBroken ? Promise.reject(new Error('broken')) : Promise.resolve('text'))
  const scrapes = new Scrapes(
    write,
    () => 0,
    () => Promise.resolve(),
  )
  for (let i = 0; i < 11; i++) await expect(scrapes.text()).rejects.toThrow('broken')
  isBroken = false
  expect(await scrapes.text()).toBe('text')
})

test('nobody waits once the second is over', async () => {
  let now = 0
  const scrapes = new Scrapes(
    async () => `text of ${now}`,
    () => now,
    () => Promise.reject(new Error('waited')),
  )
  for (let i = 0; i < 10; i++) expect(await scrapes.text()).toBe('text of 0')
  now = 1_000
  expect(await scrapes.text()).toBe('text of 1000')
})
