import { expect, test } from 'vitest'
import { Scrapes } from '../../src/observability/scrapes.ts'

test('metrics are written down ten times a second at most, and given again beyond', async () => {
  let [now, written] = [0, 0]
  const scrapes = new Scrapes(
    async () => `text ${++written}`,
    () => now,
  )
  const texts = await Promise.all(Array.from({ length: 300 }, () => scrapes.text()))
  expect(texts.slice(0, 10)).toEqual(Array.from({ length: 10 }, (_, i) => `text ${i + 1}`))
  expect(new Set(texts.slice(10))).toEqual(new Set(['text 10']))
  now = 999
  expect(await scrapes.text()).toBe('text 10')
  now = 1_000
  expect(await scrapes.text()).toBe('text 11')
})

test('what fails is not given for long', async () => {
  let [now, isBroken] = [0, true]
  const write = () => (isBroken ? Promise.reject(new Error('broken')) : Promise.resolve('text'))
  const scrapes = new Scrapes(write, () => now)
  await expect(scrapes.text()).rejects.toThrow('broken')
  isBroken = false
  expect(await scrapes.text()).toBe('text')
  now = 5_000
  expect(await scrapes.text()).toBe('text')
})
