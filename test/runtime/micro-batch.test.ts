import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { microBatch } from '../../src/runtime/micro-batch.ts'

test('what comes alone goes at once, what comes in company goes together', async () => {
  const flushed: string[] = []
  const [score, reserve] = [() => flushed.push('score'), () => flushed.push('reserve')] as (() => void)[] as [
    () => void,
    () => void,
  ]
  const request = () => {
    microBatch(reserve)
    microBatch(score)
  }
  const taken = () => flushed.splice(0)

  request()
  expect(taken()).toEqual(['reserve', 'score'])
  await nextTurn()
  await nextTurn()
  expect(taken()).toEqual([])

  // The first can't know that more will come in its turn.
  for (let i = 0; i < 3; i++) request()
  expect(taken()).toEqual(['reserve', 'score'])
  await nextTurn()
  await nextTurn()
  expect(taken()).toEqual(['reserve', 'score'])

  // Now they are known to come in company, across turns.
  const together = new Promise<void>((done) => {
    request()
    microBatch(done)
  })
  await nextTurn()
  request()
  expect(taken()).toEqual([])
  await together
  expect(taken()).toEqual(['reserve', 'score'])
  await nextTurn()

  // One that waits for company which does not come is the last to wait.
  await new Promise<void>((done) => microBatch(done))
  microBatch(score)
  expect(taken()).toEqual(['score'])
})
