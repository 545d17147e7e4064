import { expect, test } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { dialectFor, dialectSchema } from '../../../src/candidates/dialect.ts'
import type { ChatRequest } from '../../../src/openai/chat.ts'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { adapt } from '../../../src/providers/dialect/adapt.ts'
import { Learned } from '../../../src/providers/dialect/learned.ts'
import { unfitFrom } from '../../../src/providers/dialect/plan.ts'
import { shippedDialects } from '../../emulators/shipped.ts'
import { candidate } from '../../support/relay-harness.ts'

const unfitFor = (request: ChatRequest, candidate: Candidate, learned: Learned | undefined, strict: boolean) =>
  unfitFrom(request, strict)(candidate, learned)

// What models refuse together, or of other places than a field: reported since spring 2026 (owner/repo#n).

const all = shippedDialects()
const of = (provider: string, model: string) =>
  candidate(model, provider, { model, dialect: dialectFor(dialectSchema.parse(all[provider]), model) })
const request = (fields: object) =>
  parseChat(Buffer.from(JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...fields })))
const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }]
const schemaOf = (properties: object) => ({
  type: 'json_schema',
  json_schema: { name: 'a', strict: true, schema: { type: 'object', properties } },
})
const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }
const called = (id: string, more: object = {}) => ({
  role: 'assistant',
  content: null,
  tool_calls: [{ id, type: 'function', function: { name: 'look', arguments: '{}' } }],
  ...more,
})

test.each([
  // openai/openai-agents-python#656, symfony/ai#803
  ['google', 'gemini-2.5-flash', { tools, response_format: schemaOf({}) }, /beside tools/],
  ['google', 'gemini-3-flash', { tools, response_format: schemaOf({}) }, null],
  ['google', 'gemini-2.5-flash', { response_format: schemaOf({}) }, null],
  // BerriAI/litellm#31466, llm-exe/llm-exe#662
  ['deepseek', 'deepseek-chat', { response_format: schemaOf({}) }, /json_schema/],
  ['deepseek', 'deepseek-chat', { response_format: { type: 'json_object' } }, null],
  // deepseek-ai/DeepSeek-V3#1376, BerriAI/litellm#37470
  ['deepseek', 'deepseek-v4-pro', { tools, tool_choice: 'required' }, /tool_choice/],
  ['deepseek', 'deepseek-chat', { tools, tool_choice: 'required' }, null],
  // platform.claude.com/docs/en/models/opus-5-5/migration-guide
  ['anthropic', 'claude-opus-5-5', { tools, tool_choice: 'required' }, /tool_choice/],
  ['anthropic', 'claude-opus-5', { tools, tool_choice: 'required' }, null],
  // docs.cohere.com/docs/structured-outputs
  ['cohere', 'command-a-03-2025', { response_format: schemaOf({ n: { type: 'integer', minimum: 1 } }) }, /minimum/],
  ['cohere', 'command-a-03-2025', { response_format: schemaOf({ minimum: { type: 'integer' } }) }, null],
])('%s, %s', (provider, model, fields, why) => {
  const unfit = unfitFor(request(fields), of(provider, model), undefined, false)
  if (why === null) expect(unfit).toBeUndefined()
  else expect(unfit).toMatch(why)
})

test('the chat model of GPT-5 does not think (BerriAI/litellm#13781)', () => {
  const asked = request({ temperature: 0.3, reasoning_effort: 'low' })
  expect(adapt(asked, of('openai', 'gpt-5-chat-latest'), undefined, false).dropped).toEqual(['reasoning_effort'])
  expect(adapt(asked, of('openai', 'gpt-5'), undefined, false).dropped).toEqual(['temperature'])
})

test('a schema in the form of an object’s format, where it is taken so (koharu-rs/koharu#1128)', () => {
  const format = schemaOf({ title: { type: 'string' } })
  const { body, dropped } = adapt(request({ response_format: format }), of('cohere', 'command-a'), undefined, false)
  expect(body.response_format).toEqual({ type: 'json_object', schema: format.json_schema.schema })
  expect(dropped ?? []).toEqual([])
})

test('a schema that is not kept to in all comes in the model’s own form all the same, where it was asked by name', () => {
  const format = schemaOf({ n: { type: 'integer', minimum: 1 } })
  const asked = { ...request({ response_format: format }), format: 'responses' as const }
  const { body } = adapt(asked, of('cohere', 'command-a'), undefined, false, true)
  expect(body.response_format).toEqual({ type: 'json_object', schema: format.json_schema.schema })
  expect(() => adapt(asked, of('cohere', 'command-a'), undefined, false)).toThrow(/minimum/)
  const long = { ...request({ max_completion_tokens: 16_000 }), format: 'responses' as const }
  const { model: _, messages: __, ...sent } = adapt(long, of('deepseek', 'deepseek-chat'), undefined, false, true).body
  expect(sent).toEqual({ max_tokens: 16_000 })
  // What it takes in no form goes as it is, for the provider to judge.
  expect(adapt(asked, of('deepseek', 'deepseek-chat'), undefined, false, true).body.response_format).toEqual(format)
})

test('all calls of a conversation must bring their thoughts (danny-avila/LibreChat#13366)', () => {
  const loop = [called('call_1'), { role: 'tool', tool_call_id: 'call_1', content: 'a cat' }]
  const messages = [{ role: 'user', content: 'Look' }, ...loop, { role: 'user', content: 'And now?' }]
  const v4 = of('deepseek', 'deepseek-v4-flash')
  expect(unfitFor(request({ messages }), v4, undefined, false)).toMatch(/another model/)
  const own = messages.map((one) => ('tool_calls' in one ? { ...one, reasoning_content: 'hm' } : one))
  expect(unfitFor(request({ messages: own }), v4, undefined, false)).toBeUndefined()
})

test('thoughts that come back under their other name are read all the same', () => {
  const loop = (thoughts: object) => [
    { role: 'user', content: 'Look' },
    { ...called('call_1'), ...thoughts },
    { role: 'tool', tool_call_id: 'call_1', content: 'a cat' },
  ]
  const v4 = of('deepseek', 'deepseek-v4-pro')
  const asked = request({ messages: loop({ reasoning: 'hm' }) })
  expect(unfitFor(asked, v4, undefined, false)).toBeUndefined()
  const sent = (learned?: Learned) => adapt(asked, v4, learned, false, true).body.messages[1]
  expect(sent()).toMatchObject({ reasoning_content: 'hm' })
  expect(sent()).not.toHaveProperty('reasoning')
  // What it has once refused it does not get under that name.
  const refusing = new Learned(['message:reasoning_content'])
  expect(sent(refusing)).not.toHaveProperty('reasoning_content')
  expect(unfitFor(asked, v4, refusing, false)).toMatch(/another model/)
  for (const thoughts of [{ reasoning: { text: 'hm' } }, { reasoning: null }, { thinking: 'hm' }]) {
    expect(unfitFor(request({ messages: loop(thoughts) }), v4, undefined, false)).toMatch(/another model/)
  }
})

test('told not to think, a model goes on with any tool loop and can be made to call', () => {
  const loop = [called('call_1'), { role: 'tool', tool_call_id: 'call_1', content: 'a cat' }]
  const messages = [{ role: 'user', content: 'Look' }, ...loop]
  const v4 = of('deepseek', 'deepseek-v4-flash')
  const off = { type: 'disabled' }
  const why = (fields: object, more: object = {}) => unfitFor(request(fields), { ...v4, ...more }, undefined, false)
  const forced = { tools, tool_choice: 'required' }
  for (const fields of [{ messages }, forced]) {
    expect(why(fields)).toMatch(/another model|tool_choice/)
    for (const quiet of [{ thinking: false }, { defaults: { thinking: off } }]) {
      expect(why(fields, quiet)).toBeUndefined()
      expect(why({ ...fields, thinking: { type: 'enabled' } }, quiet)).toMatch(/another model|tool_choice/)
    }
    expect(why({ ...fields, thinking: off })).toBeUndefined()
  }
  expect(adapt(request({ messages, thinking: off }), v4, undefined, false).body.thinking).toEqual(off)
  // A limit of its own is left: no model of theirs has heard of it.
  const allowed = { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [] } }
  expect(
    adapt(request({ tools, tool_choice: allowed, thinking: off }), v4, undefined, false).body.tool_choice,
  ).not.toEqual(allowed)
  // Who always thinks does not hear it, and signed calls stay signed.
  const reasoner = { ...of('deepseek', 'deepseek-reasoner'), thinking: false }
  expect(unfitFor(request({ messages, thinking: off }), reasoner, undefined, false)).toMatch(/another model/)
  const gemini = { ...of('google', 'gemini-3.1-flash-lite'), thinking: false }
  expect(unfitFor(request({ messages }), gemini, undefined, false)).toMatch(/another model/)
})

test('pictures in a tool’s result (vllm-project/vllm#43203, QwenLM/qwen-code#3616, NousResearch/hermes-agent#109707)', () => {
  const messages = [
    { role: 'user', content: 'Look' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [called('call_1').tool_calls[0], called('call_2').tool_calls[0]],
    },
    { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'a cat' }, image] },
    { role: 'tool', tool_call_id: 'call_2', content: [image] },
  ]
  const asked = request({ messages, tools })
  const { body } = adapt(asked, of('openai', 'gpt-4.1-mini'), undefined, false)
  expect(body.messages.slice(2)).toEqual([
    { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'a cat' }] },
    { role: 'tool', tool_call_id: 'call_2', content: '(see the next message)' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What the tool call call_1 returned:' },
        image,
        { type: 'text', text: 'What the tool call call_2 returned:' },
        image,
      ],
    },
  ])
  // Claude sees them within; Mistral takes them neither there nor right after (LibreChat-AI/agents#344).
  expect(adapt(asked, of('anthropic', 'claude-haiku-4-5'), undefined, false).body.messages[2]).toEqual(messages[2])
  expect(unfitFor(asked, of('mistral', 'mistral-small'), undefined, false)).toMatch(/pictures/)
})

test('where a model takes tools by the Responses API alone, its rules are that API’s', () => {
  const both = { ...of('openai', 'gpt-5.6-sol'), apis: new Set(['chat', 'responses'] as const) }
  expect(unfitFor(request({ tools, n: 2 }), both, undefined, false)).toMatch(/does not take n/)
  expect(unfitFor(request({ n: 2 }), both, undefined, false)).toBeUndefined()
  expect(adapt(request({ tools, seed: 7 }), both, undefined, false).dropped).toEqual(['seed'])
  expect(adapt(request({ seed: 7 }), both, undefined, false).dropped ?? []).toEqual([])
})

test('candidates of one dialect are judged once, those who need more each by what they get and have refused', () => {
  const config = dialectSchema.parse(all.mistral)
  const [small, large, named] = ['mistral-small', 'mistral-large', 'pixtral-12b'].map((model) => {
    return candidate(model, 'mistral', { model, dialect: dialectFor(config, model) })
  }) as [Candidate, Candidate, Candidate]
  expect(large.dialect).toBe(small.dialect)
  const asked = request({ logit_bias: { 5: 1 } })
  const why = unfitFrom(asked, true)
  for (const one of [small, large, named]) expect(why(one, undefined)).toBe(unfitFor(asked, one, undefined, true))
  expect(why(small, undefined)).toMatch(/logit_bias/)
  const refusing = new Learned(['temperature'])
  const once = unfitFrom(request({ temperature: 0.3 }), true)
  expect([once(small, undefined), once(large, refusing), once(small, undefined)]).toEqual([
    undefined,
    expect.stringMatching(/temperature/),
    undefined,
  ])
  // What its provider speaks itself is that provider's business, whoever was asked before.
  const native = { ...request({ logit_bias: { 5: 1 } }), format: 'messages' as const }
  const whyNative = unfitFrom(native, true)
  expect(whyNative(small, undefined)).toMatch(/logit_bias/)
  expect(whyNative({ ...large, apis: new Set(['messages' as const]) }, undefined)).toBeUndefined()
  // Thoughts that a call must carry are in what each alone gets.
  const loop = request({
    messages: [{ role: 'user', content: 'Hi' }, called('a'), { role: 'tool', tool_call_id: 'a', content: '1' }],
  })
  const gemini = of('google', 'gemini-3-flash')
  const own = { ...loop, forCandidate: (one: Candidate) => (one.name === 'knows' ? request({}) : loop) }
  const each = unfitFrom(own, false)
  expect(each(gemini, undefined)).toMatch(/another model/)
  expect(each({ ...gemini, name: 'knows' }, undefined)).toBeUndefined()
})
