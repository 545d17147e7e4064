import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Cohort, inStep } from '../../src/runtime/cohort.ts'
import { microBatch } from '../../src/runtime/micro-batch.ts'

/** As requests that are scored: company is what the last batch held. */
async function come(howMany: number): Promise<void> {
  for (let i = 0; i < howMany; i++) microBatch(nothing)
  await nextTurn()
  await nextTurn()
}
const nothing = () => {}

test('who comes alone goes on at once; in company all go on together, and take their steps side by side', async () => {
  const said: string[] = []
  const request = async (name: string) => {
    await new Promise<void>(inStep)
    said.push(`${name} is read`)
    await null
    said.push(`${name} is judged`)
  }

  await come(1)
  inStep(() => said.push('alone'))
  expect(said.splice(0)).toEqual(['alone'])

  await come(3)
  const [a, b] = [request('a'), request('b')]
  await null
  await null
  expect(said).toEqual([])
  await Promise.all([a, b])
  expect(said).toEqual(['a is read', 'b is read', 'a is judged', 'b is judged'])
})

test('each step is done for all before the next, and one that fails keeps nobody from theirs', async () => {
  const done: string[] = []
  const step = (name: string) => (member: string) => {
    done.push(`${member} ${name}`)
    if (member === 'bad' && name === 'counts') throw new Error('as expected')
  }
  const cohort = new Cohort(step('counts'), step('learns'))
  const thrown = new Promise<unknown>((told) => {
    process.setUncaughtExceptionCaptureCallback(told)
  })
  try {
    for (const member of ['one', 'bad', 'other']) cohort.add(member)
    expect(done).toEqual([])
    expect(await thrown).toMatchObject({ message: 'as expected' })
  } finally {
    process.setUncaughtExceptionCaptureCallback(null)
  }
  expect(done.splice(0)).toEqual([
    'one counts',
    'bad counts',
    'other counts',
    'one learns',
    'bad learns',
    'other learns',
  ])

  // What is added meanwhile is the next cohort's, still before anything else.
  const twice = new Cohort((member: string) => {
    done.push(member)
    if (member === 'first') twice.add('second')
  })
  twice.add('first')
  await nextTurn()
  expect(done).toEqual(['first', 'second'])
})
