import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HOSTED, type RunningEmulators, startEmulators } from '../emulators/index.ts'
import { shipped } from '../emulators/shipped.ts'
import { call } from '../support/clients.ts'
import { fixtureJson } from '../support/fixtures.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type Json, readEvents } from '../support/responses-spec.ts'

/**
 * Coding agents with a fixed model, at providers that refuse what their documentation or reports say they refuse: what
 * is refused there is what the gateway has made of the request.
 */
let emulators: RunningEmulators
let gateway: RunningGateway
let names: string[] = []

beforeAll(async () => {
  emulators = await startEmulators(HOSTED)
  const config = shipped(emulators)
  // As those have it who have no Responses endpoint.
  Object.assign((config.providers as Json).openai, { api: ['chat'] })
  names = (config.candidates as { name: string; provider: string }[])
    // Those of speech and of search take no agent's request, whoever asks; others take tools at a Responses endpoint.
    .filter(({ provider, name }) => provider in emulators.providers && !/audio|search|^gpt-5\.6/.test(name))
    .map(({ name }) => name)
  gateway = await startGateway({ ...config, retries: { backoff_ms: 0, breaker: { failures: 1_000 } } })
})
afterAll(async () => {
  await discard(gateway)
  await emulators?.close()
})

const shell = {
  type: 'function',
  name: 'shell',
  description: 'Runs a command.',
  strict: false,
  parameters: { type: 'object', properties: { command: { type: 'array', items: { type: 'string' } } } },
}
const codex: Json = {
  instructions: 'You are a coding agent.',
  input: [
    { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'Be brief.' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'List the files.' }] },
  ],
  tools: [
    shell,
    { type: 'custom', name: 'apply_patch', format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' } },
    { type: 'namespace', name: 'mcp__files', description: 'Files.', tools: [{ ...shell, name: 'list' }] },
    { type: 'web_search' },
  ],
  parallel_tool_calls: true,
  reasoning: { effort: 'medium', summary: 'auto' },
  text: { verbosity: 'low' },
  store: false,
  stream: true,
  include: ['reasoning.encrypted_content'],
  prompt_cache_key: '0199a213-81c0-7800-8aa1-bbab2a035a53',
  client_metadata: { session_id: 'x' },
}

async function answerOf(path: string, body: Json) {
  const answer = await call(gateway, path, { user: 'agent', body })
  const text = await answer.text()
  expect(answer.status, `${body.model}: ${text}`).toBe(200)
  expect(answer.headers.get('x-router-model')).toBe(body.model)
  expect(answer.headers.get('x-router-reason')).toBe('explicit')
  return { text, dropped: answer.headers.get('x-router-dropped')?.split(', ') ?? [] }
}

describe('named by its model, every candidate answers', () => {
  test('Codex, and its second turn with what a tool returned', async () => {
    for (const model of names) {
      const first = await answerOf('/v1/responses', { ...codex, model })
      const { response } = readEvents(first.text).at(-1)?.data ?? {}
      expect(response.status).toBe('completed')
      expect(first.dropped.includes('tools.web_search'), model).toBe(!RESPONSES_ONLY.test(model))
      const input = [
        ...codex.input,
        { type: 'function_call', call_id: 'call_1', name: 'list', namespace: 'mcp__files', arguments: '{}' },
        { type: 'function_call_output', call_id: 'call_1', output: 'a.txt' },
      ]
      // Those who want their own thoughts back can't be given any.
      if (!NEEDS_THOUGHTS.test(model)) await answerOf('/v1/responses', { ...codex, model, input })
      const later = [...input, ...response.output, { role: 'user', content: 'And now?' }]
      await answerOf('/v1/responses', { ...codex, model, input: later })
    }
  })

  test('Claude Code, and its second turn with a reminder beside what a tool returned', async () => {
    const { body } = fixtureJson<{ body: Json }>('clients/claude-code.json')
    for (const model of names) {
      const { text } = await answerOf('/v1/messages?beta=true', { ...body, model })
      expect(text).toMatch(/event: message_stop/)
      if (NEEDS_THOUGHTS.test(model)) continue
      const messages = [
        ...body.messages,
        { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls' } }] },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: 'a.txt' },
            { type: 'text', text: '<system-reminder>Be brief.</system-reminder>' },
          ],
        },
      ]
      await answerOf('/v1/messages?beta=true', { ...body, model, messages })
    }
  })

  test('a text to go on with', async () => {
    for (const model of names) {
      await answerOf('/v1/completions', { model, prompt: 'Once', suffix: 'end', max_tokens: 16, user: 'ann', seed: 1 })
    }
  })
})

/** config/models.yaml, `responses: always`: a request over that API reaches them as it is. */
const RESPONSES_ONLY = /^gpt-5.*-(?:codex|pro)/

/** Of a tool loop; config/models.yaml, `loop_needs`. */
const NEEDS_THOUGHTS = /gemini-3|deepseek-v4/
