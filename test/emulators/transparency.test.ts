import { afterEach, expect, test } from 'vitest'
import { randomFrom } from '../security/fuzz/targets.ts'
import { lossOf } from './meaning.ts'
import { TransparencyTarget } from './transparency.ts'

/** More: `npm run fuzz -- transparency`. */
const REQUESTS = 400

test('the comparison sees what is lost', () => {
  const asked = {
    model: 'auto',
    messages: [
      { role: 'developer', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
    ],
    temperature: 0.2,
    max_tokens: 10,
  }
  const same = {
    ...asked,
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
    ],
  }
  expect(lossOf(asked, 'openai', same, [])).toBeNull()
  expect(lossOf(asked, 'openai', { ...same, temperature: 1 }, [])).toMatch(/temperature/)
  expect(lossOf(asked, 'openai', { ...same, temperature: 1 }, ['temperature'])).toBeNull()
  expect(lossOf(asked, 'openai', { ...same, max_tokens: undefined, max_completion_tokens: 10 }, [])).toBeNull()
  expect(lossOf(asked, 'openai', { ...same, messages: same.messages.slice(1) }, [])).toMatch(/system/)
  expect(lossOf(asked, 'openai', { ...same, messages: same.messages.slice(0, 1) }, [])).toMatch(/said/)
})

let target: TransparencyTarget | undefined
afterEach(() => target?.stop())

test('any valid request under auto is answered, and means to the model what was asked', async () => {
  target = await TransparencyTarget.start()
  const random = randomFrom(5)
  for (let i = 0; i < REQUESTS; i++) await target.run(random)
  const { refused, lost, surprises, problems, byCandidate, requests } = target.totals
  expect({ refused, lost, surprises, problems }).toEqual({ refused: 0, lost: 0, surprises: 0, problems: [] })
  expect(requests).toBe(REQUESTS)
  // Nothing would be learned of candidates that never answer.
  expect(Object.keys(byCandidate).length).toBeGreaterThan(8)
}, 180_000)

test('the same where nothing is known of the models: what one refuses, another answers, and it is remembered', async () => {
  target = await TransparencyTarget.start({ dialects: false })
  const random = randomFrom(6)
  for (let i = 0; i < REQUESTS; i++) await target.run(random)
  const { refused, surprises, problems, failedOver, dropped } = target.totals
  expect({ refused, surprises, problems }).toEqual({ refused: 0, surprises: 0, problems: [] })
  expect(failedOver).toBeGreaterThan(3)
  expect(dropped).toBeGreaterThan(3)
}, 180_000)
