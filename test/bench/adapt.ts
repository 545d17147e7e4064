import { type Dialect, dialectFor } from '../../src/candidates/dialect.ts'
import { loadConfig } from '../../src/config/load.ts'
import { parseChat } from '../../src/openai/parse-chat.ts'
import { adapt } from '../../src/providers/dialect/adapt.ts'
import { unfitFrom } from '../../src/providers/dialect/plan.ts'
import { candidate } from '../support/relay-harness.ts'

/**
 * What dialects cost on the straight path, alone: `node test/bench/adapt.ts`. Microseconds a call, the median of
 * rounds; `plan` is what a decision asks of each candidate, `adapt` what the one that is asked gets.
 */
const ROUNDS = 31
const CALLS = 2_000

function medianUs(work: () => unknown): string {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const started = performance.now()
    for (let i = 0; i < CALLS; i++) work()
    return ((performance.now() - started) / CALLS) * 1_000
  }).sort((a, b) => a - b)
  return (rounds[ROUNDS >> 1] as number).toFixed(2).padStart(8)
}

const parameters = { type: 'object', properties: { at: { type: ['string', 'null'] }, tags: { type: 'array' } } }
const tool = (name: string) => ({ type: 'function', function: { name, description: 'A tool.', parameters } })
const turns = Array.from({ length: 10 }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content: `Turn ${i}.` }))
const REQUESTS: Record<string, object> = {
  plain: { messages: [{ role: 'user', content: 'What is the capital of France?' }] },
  'with fields': {
    messages: [...turns, { role: 'user', content: 'And now?' }],
    temperature: 0.2,
    max_tokens: 500,
    user: 'u',
  },
  'with 20 tools': {
    messages: [...turns, { role: 'user', content: 'And now?' }],
    tools: Array.from({ length: 20 }, (_, i) => tool(`tool_${i}`)),
  },
}
const { dialects } = loadConfig('config/gateway.yaml', {}).config
const of = (provider: string, model: string): Dialect => dialectFor(dialects[provider] as never, model)
const DIALECTS: Record<string, Dialect | undefined> = {
  none: undefined,
  'gpt-4o-mini': of('openai', 'gpt-4o-mini'),
  'gpt-5': of('openai', 'gpt-5'),
  'gemini-2.5-flash': of('google', 'gemini-2.5-flash'),
}

console.log('request          model                parse     plan    adapt   (us)')
for (const [name, fields] of Object.entries(REQUESTS)) {
  const raw = Buffer.from(JSON.stringify({ model: 'auto', ...fields }))
  const parse = medianUs(() => parseChat(raw))
  for (const [model, dialect] of Object.entries(DIALECTS)) {
    const one = candidate(model, 'p', dialect && { dialect })
    // The facts of a request are found once, however many candidates are looked at.
    const request = parseChat(raw)
    const plan = medianUs(() => unfitFrom(request, false)(one, undefined))
    const adapted = medianUs(() => adapt(request, one, undefined, false))
    console.log(`${name.padEnd(16)} ${model.padEnd(18)} ${parse} ${plan} ${adapted}`)
  }
}
