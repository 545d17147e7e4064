import { expect, test } from 'vitest'
import { KnownAnswers } from '../../../src/store/recorder/known-answers.ts'
import type { InteractionSummary } from '../../../src/store/store.ts'

const summary = (more: Partial<InteractionSummary>) =>
  ({ id: 'req_1', tenant: 'acme', user: 'ann', ts: 1, completionId: null, ...more }) as InteractionSummary

test('an answer is found by the name that its first piece tells', () => {
  const known = new KnownAnswers()
  known.open(summary({}))
  expect(known.nameCompletion('acme', 'req_1', 'chatcmpl-1')).toMatchObject({ completionId: 'chatcmpl-1' })
  expect(known.findCompletions('acme', 'chatcmpl-1')).toMatchObject([{ interaction: 'req_1' }])
  expect(known.nameCompletion('bell', 'req_1', 'chatcmpl-2')).toBeNull()
})

test('the name that the client gave stays, whatever the provider calls it', () => {
  const known = new KnownAnswers()
  known.open(summary({ completionId: 'own' }))
  expect(known.nameCompletion('acme', 'req_1', 'chatcmpl-1')).toBeNull()
  expect(known.find('acme', 'req_1')).toMatchObject({ completionId: 'own' })
  expect(known.findCompletions('acme', 'own')).toMatchObject([{ interaction: 'req_1' }])
  expect(known.findCompletions('acme', 'chatcmpl-1')).toEqual([])
})
