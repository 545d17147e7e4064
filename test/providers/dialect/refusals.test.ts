import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { factsOf } from '../../../src/providers/dialect/facts.ts'
import { Learned } from '../../../src/providers/dialect/learned.ts'
import { Refusals } from '../../../src/providers/dialect/refusals.ts'
import type { Store } from '../../../src/store/store.ts'
import { openTestStore } from '../../learning/support.ts'
import { candidate } from '../../routing/support.ts'
import { eventually } from '../../support/eventually.ts'

const ONE = candidate('one')
const TWO = candidate('two')

let store: Store
let refusals: Refusals
beforeEach(() => {
  store = openTestStore()
  refusals = new Refusals(store)
})
afterEach(() => store.close())

const has = (voice: string | undefined, field = 'seed', of = ONE) => refusals.of('acme', of, voice)?.has(field) === true
const counts = async () => (await refusals.list('acme')).map(({ field, counts }) => [field, counts])

test.each([
  ['two vouched users', ['u1', 'u2']],
  ['four keys', ['k1', 'k2', 'k3', 'k4']],
  ['a vouched user and two keys', ['u1', 'k1', 'k2']],
])('what one voice meets spares that voice; once %s have met it, all', async (_, voices) => {
  for (const voice of voices) {
    expect([has('k9'), has(undefined)]).toEqual([false, false])
    refusals.note('acme', ONE, ['seed'], voice)
    expect(has(voice)).toBe(true)
  }
  expect([has('k9'), has(undefined), has('u1', 'top_p'), has('u1', 'seed', TWO)]).toEqual([true, true, false, false])
  await eventually(async () => (await counts()).length === 1, 'the store has it')
  expect(await counts()).toEqual([['seed', true]])
})

test('a voice has what it met and what all know together', () => {
  for (const voice of ['u1', 'u2']) refusals.note('acme', ONE, ['seed'], voice)
  refusals.note('acme', ONE, ['top_p', 'by k2: logit_bias'], 'k1')
  expect(['seed', 'top_p', 'by k2: logit_bias'].map((field) => has('k1', field))).toEqual([true, true, true])
  expect(has('k2', 'top_p')).toBe(false)
})

test('of one voice few are kept, so that the others have room', () => {
  refusals.note(
    'acme',
    ONE,
    Array.from({ length: 200 }, (_, i) => `seed=${i}`),
    'k1',
  )
  expect([has('k1', 'seed=63'), has('k1', 'seed=64')]).toEqual([true, false])
  refusals.note('acme', ONE, ['top_p'], 'k2')
  expect(has('k2', 'top_p')).toBe(true)
})

test('what earlier releases kept is of all', async () => {
  await store.noteRefusals('acme', [{ deployment: 'test/one', field: 'seed', expiresAt: Date.now() + 60_000 }])
  refusals.reload('acme')
  await eventually(() => has('k1'), 'it is read')
  expect(has('k1')).toBe(true)
  expect(await counts()).toEqual([['seed', true]])
})

test('a replica of an earlier release reads past what names a voice, and keeps its own limits', async () => {
  refusals.note('acme', ONE, ['tokens>=70000', 'max_tokens>=16000', 'seed.length>5', 'seed'], 'k1')
  refusals.note('acme', ONE, ['tokens>=90000', 'max_tokens>=32000'])
  await eventually(async () => (await counts()).length === 6, 'the store has it')
  // It takes every row as it stands for what was refused.
  const before = new Learned((await store.listRefusals('acme')).map(({ field }) => field))
  const body = { model: 'auto', messages: [] }
  expect([before.endsBelow(16_000), before.endsBelow(32_000)]).toEqual([false, true])
  expect(before.ruleFor('seed', 'a long one', body)).toBeUndefined()
  const request = {
    ...parseChat(Buffer.from('{"model":"auto","messages":[{"role":"user","content":"Hi"}]}')),
    promptTokens: 90_000,
  }
  expect(before.unfit(request, factsOf(request))).toMatch('90000')
  expect(before.unfit({ ...request, promptTokens: 80_000 }, factsOf(request))).toBeUndefined()
})

test('is forgotten of whoever met it, by its name or all of it', async () => {
  for (const voice of ['k1', 'k2']) refusals.note('acme', ONE, ['seed', 'top_p'], voice)
  await eventually(async () => (await counts()).length === 2, 'the store has it')
  expect(await refusals.forget('acme', { field: 'seed' })).toBe(1)
  expect([has('k1'), has('k1', 'top_p')]).toEqual([false, true])
  expect(await counts()).toEqual([['top_p', false]])
  expect(await refusals.forget('acme', {})).toBe(1)
  expect(await store.listRefusals('acme')).toEqual([])
})
