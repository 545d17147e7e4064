import { expect, test } from 'vitest'
import { dialectFor } from '../../../src/candidates/dialect.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { UnsupportedRequest } from '../../../src/errors.ts'
import { statusOfError } from '../../../src/openai/error.ts'
import { meantBy } from '../../../src/openai/finish-reason.ts'
import { messagesError } from '../../../src/openai/messages/error.ts'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { kindOf } from '../../../src/openai/responses/items.ts'
import { inResponsesWords } from '../../../src/openai/responses/words.ts'
import { adapt } from '../../../src/providers/dialect/adapt.ts'
import { Learned } from '../../../src/providers/dialect/learned.ts'
import { openaiError } from '../../../src/providers/kinds/anthropic/error.ts'
import { thinking } from '../../../src/providers/kinds/anthropic/thinking.ts'
import { candidate } from '../../support/relay-harness.ts'

/** Names that every object has: of a client, or a provider, they are words like any other. */
const NAMES = ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'valueOf']
const { dialects } = loadConfig('config/gateway.yaml', {}).config
const FAMILIES = Object.entries(dialects).flatMap(([provider, rules]) =>
  ['x', ...rules.models.flatMap(({ match }) => match)].map(
    (pattern) => [provider, pattern.replaceAll('*', '')] as const,
  ),
)

function chat(more: string, message = '', role = 'user', type = 'text') {
  const content = JSON.stringify([{ type, text: 'Hi' }])
  const first = `{"role":${JSON.stringify(role)},"content":${content}${message}}`
  return parseChat(Buffer.from(`{"model":"auto","messages":[${first},{"role":"user","content":"Hi"}]${more}}`))
}

test.each(NAMES)('%s as a field, a value, a role, a part', (name) => {
  const word = JSON.stringify(name)
  const field = chat(`,${word}:"x"`)
  const asked = [
    field,
    chat(`,"reasoning_effort":${word},"service_tier":${word},"verbosity":${word}`),
    chat(`,"response_format":{"type":${word}}`),
    chat('', `,${word}:"x"`),
    chat('', '', name),
    chat('', '', 'user', name),
  ]
  for (const [provider, model] of FAMILIES) {
    const one = candidate('c', provider, { model, dialect: dialectFor(dialects[provider]!, model) })
    for (const request of asked) {
      for (const learned of [undefined, new Learned([name, `reasoning_effort=${word}`])]) {
        try {
          const { body } = adapt(request, one, learned, false)
          expect(Object.getPrototypeOf(body)).toBe(Object.prototype)
        } catch (error) {
          expect(error).toBeInstanceOf(UnsupportedRequest)
        }
      }
    }
  }
  // A rule for all that is not documented is one for these, too.
  const strictest = candidate('c', 'mistral', {
    model: 'x',
    dialect: { ...dialectFor({ models: [], fields: { '*': 'drop' } }, 'x') },
  })
  expect(adapt(field, strictest, undefined, false).dropped).toEqual([name])
})

test.each(NAMES)('%s as a word of a provider', (name) => {
  expect(statusOfError({ type: name, code: name })).toBe(500)
  expect(meantBy(name)).toBe(name)
  expect(messagesError({ message: 'm', type: 'x', code: name, param: null }).error.type).toBe('api_error')
  expect(kindOf(name)).toBe('item')
  expect(inResponsesWords(name)).toBe(name)
  expect(openaiError({ error: { type: name, message: 'm' } })).toMatchObject({ status: 500, type: 'api_error' })
  const limits = { defaultMaxTokens: 1_000, modelMaxTokens: undefined, mayThink: true }
  const dialect = { thinking: 'budget', thinksByDefault: false, thinksAlways: false } as unknown as Parameters<
    typeof thinking
  >[1]
  expect(thinking(chat(`,"reasoning_effort":"${name}"`).body, dialect, limits)).toEqual({ maxTokens: 1_000 })
})
