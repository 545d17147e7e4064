import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { shippedDialects } from '../emulators/shipped.ts'
import { call } from '../support/clients.ts'
import { answering, type OddAndGood, startOddAndGood } from '../support/odd-and-good.ts'
import type { Exchange, Script } from '../support/upstream.ts'

/**
 * Requests that one model was reported to refuse and another to take (owner/repo#n): they are put as each takes them,
 * or the next one answers; what is remembered of a refusal is what was refused, no more.
 */

// biome-ignore lint/suspicious/noExplicitAny: JSON as it was sent
type Fields = Record<string, any>

const NAMES = ['claude', 'local', 'openai', 'google', 'mistral', 'deepseek'] as const
type Name = (typeof NAMES)[number]

let both: OddAndGood
beforeAll(async () => {
  both = await startOddAndGood(({ origin }) => {
    const common = { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false }
    return {
      dialects: shippedDialects(),
      providers: {
        ...Object.fromEntries(NAMES.map((name) => [name, common])),
        local: { ...common, dialect: 'vllm' },
        claude: { ...common, kind: 'anthropic' },
        texts: { ...common, api: ['chat', 'completions'] },
      },
      candidates: [...NAMES, 'texts'].map((name) => ({
        name,
        provider: name,
        ...(name === 'deepseek' && { model: 'deepseek-v4-pro' }),
        price: { input: 1, output: 2 },
        context_window: 1_000_000,
        capabilities: ['tools', 'vision', 'json_schema'],
        explore: false,
      })),
    }
  })
}, 60_000)
afterAll(() => both?.close())
beforeEach(() => both.forget())

/** @param only candidates that may answer: one that is asked for by name gets the client's own bytes */
const ask = async (body: Fields, only?: string, path = '/v1/chat/completions') => {
  const headers = only === undefined ? {} : { 'x-router-allow': only }
  const response = await call(both.gateway, path, { body: { model: 'auto', ...body }, headers })
  return { status: response.status, by: response.headers.get('x-router-model'), text: await response.text() }
}
const hi = [{ role: 'user', content: 'Hi' }]
const tool = (name: string, parameters: object = { type: 'object', properties: {} }) => ({
  type: 'function',
  function: { name, description: 'Looks.', parameters },
})
const invalid = (message: string, more: object = {}) => ({
  error: { message, type: 'invalid_request_error', param: null, code: null, ...more },
})

/** Refuses what a test says it refuses, and answers all else. */
const refusing =
  (when: (body: Fields) => boolean, status: number, refusal: object): Script =>
  (exchange) =>
    when(exchange.json as Fields) ? exchange.reply(status, refusal) : answering('odd')(exchange)

/** What was sent to the odd one last. */
const sent = (): Fields => JSON.parse((both.odd.requests.at(-1) as { body: Buffer }).body.toString('utf8'))

const claudeAnswers: Script = (exchange) =>
  exchange.reply(200, {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'c',
    content: [{ type: 'text', text: 'odd' }],
    stop_reason: 'end_turn',
    usage: { input_tokens: 1, output_tokens: 1 },
  })
const answers = (name: Name): Script => (name === 'claude' ? claudeAnswers : answering('odd'))

describe('the other answers, and the first is asked again with what it takes', () => {
  const toolsAsked = { messages: hi, tools: [tool('look')] }
  const cases: [report: string, Script, asked: Fields, next: Fields, check: (body: Fields) => void][] = [
    [
      'a choice of tools but auto: none (can1357/oh-my-pi#4715, justrach/codegraff#751)',
      refusing((body) => body.tool_choice !== undefined && body.tool_choice !== 'auto', 400, {
        error: {
          message: "Only a tool_choice of 'auto' is supported for this model.",
          type: 'invalid_request_error',
          param: 'tool_choice',
        },
      }),
      { ...toolsAsked, tool_choice: 'none' },
      { ...toolsAsked, tool_choice: 'auto' },
      (body) => expect(body.tools).toHaveLength(1),
    ],
    [
      'a choice of tools but auto: required (experientiallabs/experiential#748, i-am-bee/beeai-framework#689)',
      refusing(
        (body) => body.tool_choice === 'required',
        400,
        invalid('tool_choice "required" is not supported by this model', { param: 'tool_choice' }),
      ),
      { ...toolsAsked, tool_choice: 'required' },
      toolsAsked,
      (body) => expect(body.tools).toHaveLength(1),
    ],
    [
      'fewer tokens than a model answers with at least (elizaOS/eliza#11127)',
      refusing(
        (body) => (body.max_tokens ?? body.max_completion_tokens) < 16,
        400,
        invalid(
          "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 8 instead.",
          {
            param: 'max_output_tokens',
            code: 'integer_below_min_value',
          },
        ),
      ),
      { messages: hi, max_tokens: 8 },
      { messages: hi, max_tokens: 100 },
      (body) => expect(body).toMatchObject({ max_tokens: 100 }),
    ],
    [
      'what Azure’s filter found, told of the prompt (stanford-crfm/helm#3327, compl-ai/compl-ai#20)',
      refusing((body) => JSON.stringify(body).includes('BAD'), 400, {
        error: {
          message:
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.",
          type: null,
          param: 'prompt',
          code: 'content_filter',
          status: 400,
          innererror: { code: 'ResponsibleAIPolicyViolation', content_filter_result: { hate: { filtered: true } } },
        },
      }),
      { messages: [{ role: 'user', content: 'BAD' }], temperature: 0.5 },
      { messages: hi, temperature: 0.5 },
      (body) => expect(body).toMatchObject({ temperature: 0.5 }),
    ],
    [
      'what DashScope’s inspection found (BerriAI/litellm#41682)',
      refusing((body) => JSON.stringify(body).includes('BAD'), 400, {
        error: {
          message: '<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content.',
          type: 'data_inspection_failed',
          param: null,
          code: 'data_inspection_failed',
        },
      }),
      { messages: [{ role: 'user', content: 'BAD' }], seed: 1 },
      { messages: hi, seed: 1 },
      (body) => expect(body).toMatchObject({ seed: 1 }),
    ],
    [
      'no system messages, in its own words (justlovemaki/AIClient2API#632)',
      refusing((body) => body.messages.some(({ role }: Fields) => role === 'system'), 400, {
        detail: 'System messages are not allowed',
      }),
      { messages: [{ role: 'system', content: 'Be brief.' }, ...hi] },
      { messages: [{ role: 'system', content: 'Be brief.' }, ...hi] },
      (body) => expect(JSON.stringify(body.messages)).toContain('Be brief.'),
    ],
    [
      'a prompt that is too long for this one (coder/aibridge#56)',
      refusing((body) => JSON.stringify(body).length > 8_000, 400, {
        type: 'error',
        error: { type: 'invalid_request_error', message: 'prompt is too long: 205351 tokens > 200000 maximum' },
      }),
      { messages: [{ role: 'user', content: 'word '.repeat(2_000) }], tools: [tool('look')] },
      { messages: hi, tools: [tool('look')] },
      (body) => expect(body.tools).toHaveLength(1),
    ],
    [
      'more tools than fit (anomalyco/opencode#4909, FerroxLabs/wayland#344)',
      refusing(
        (body) => body.tools?.length > 128,
        400,
        invalid(
          "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 129 instead.",
          { param: 'tools', code: 'array_above_max_length' },
        ),
      ),
      { messages: hi, tools: Array.from({ length: 129 }, (_, at) => tool(`look${at}`)) },
      toolsAsked,
      (body) => expect(body.tools).toHaveLength(1),
    ],
    [
      'the name of a tool that is too long (chatboxai/chatbox#2400, nanbingxyz/5ire#403)',
      refusing(
        (body) => body.tools?.some((one: Fields) => one.function.name.length > 64),
        400,
        invalid(
          "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a string with length 76 instead.",
          { param: 'tools[0].function.name', code: 'string_above_max_length' },
        ),
      ),
      { messages: hi, tools: [tool('l'.repeat(76))] },
      toolsAsked,
      (body) => expect(body.tools).toHaveLength(1),
    ],
  ]
  test.each(cases)('%s', async (_, script, asked, next, check) => {
    both.odd.play(script)
    const twice = [await ask(asked), await ask(asked)]
    expect(twice.map(({ status }) => status)).toEqual([200, 200])
    expect(twice[0]?.by).toBe('good')
    expect(await ask(next)).toMatchObject({ status: 200, by: 'odd' })
    check(sent())
  })

  test.each([
    [
      'Ollama has no template for tools (ZoneMinder/zmNinjaNg#309, pydantic/pydantic-ai#703)',
      { messages: hi, tools: [tool('look')] },
      400,
      { error: { message: 'registry.ollama.ai/library/gemma3:4b does not support tools', type: 'api_error' } },
    ],
    [
      'vLLM was started without a parser (vllm-project/vllm#9986, langchain4j/langchain4j#3475)',
      { messages: hi, tools: [tool('look')] },
      400,
      {
        object: 'error',
        message: '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        type: 'BadRequestError',
        param: null,
        code: 400,
      },
    ],
    [
      'a model of texts alone (ollama/ollama#17301)',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://a.b/c.png' } }] }] },
      400,
      { error: { message: 'this model does not support image input (ref: b8bd630e)', type: 'api_error' } },
    ],
    [
      'no endpoint that takes images (nexu-io/nexu#733, JohnnyZ93/oai-compatible-copilot#229)',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://a.b/c.png' } }] }] },
      404,
      { error: { code: '404', message: 'No endpoints found that support image input', param: '', type: '' } },
    ],
  ])('%s: it is asked no second time, but for the rest', async (_, asked, status, refusal) => {
    both.odd.play(
      refusing(({ tools, messages }) => tools !== undefined || messages[0].content !== 'Hi', status, refusal),
    )
    const before = both.odd.requests.length
    for (let i = 0; i < 3; i++) expect(await ask(asked)).toMatchObject({ status: 200, by: 'good' })
    expect(both.odd.requests.length - before).toBe(1)
    expect(await ask({ messages: hi })).toMatchObject({ status: 200, by: 'odd' })
  })

  test('a filter’s word of the prompt is none against prompts (stanford-crfm/helm#3327)', async () => {
    const refusal = { error: { message: 'The response was filtered.', param: 'prompt', code: 'content_filter' } }
    const completion = { id: 'cmpl-1', object: 'text_completion', choices: [{ index: 0, text: 'odd' }] }
    both.odd.play((exchange: Exchange) => {
      if (JSON.stringify(exchange.json).includes('BAD')) exchange.reply(400, refusal)
      else exchange.reply(200, { ...completion, choices: [{ index: 0, text: 'odd', finish_reason: 'stop' }] })
    })
    expect(await ask({ prompt: 'BAD' }, 'texts', '/v1/completions')).toMatchObject({ status: 400 })
    expect(await ask({ prompt: 'Hi' }, 'texts', '/v1/completions')).toMatchObject({ status: 200, by: 'texts' })
  })
})

describe('a request is put as its candidate takes it', () => {
  const called = (...ids: string[]) =>
    ids.map((id) => ({ id, type: 'function', function: { name: 'look', arguments: '{}' } }))
  const result = (id: string) => ({ role: 'tool', tool_call_id: id, content: 'Seen.' })
  const tools = [tool('look')]
  const image =
    'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

  test.each(['openai', 'mistral', 'google', 'claude', 'local'] as const)(
    'no tools in a list: %s (partITech/php-mistral#76)',
    async (name) => {
      both.odd.play(answers(name))
      expect(await ask({ messages: hi, tools: [], tool_choice: 'auto' }, name)).toMatchObject({ status: 200, by: name })
      expect(sent()).not.toHaveProperty('tools')
      expect(sent()).not.toHaveProperty('tool_choice')
    },
  )

  test.each(['mistral', 'deepseek', 'local'] as const)(
    'what an answer told beside its text comes back: %s (diegosouzapw/OmniRoute#4350, co-l/openfox#220)',
    async (name) => {
      both.odd.play(answers(name))
      const said = { role: 'assistant', content: 'So', refusal: null, annotations: [], audio: null, reasoning: 'Hm.' }
      await ask({ messages: [...hi, said, ...hi] }, name)
      for (const field of ['refusal', 'annotations', 'audio', 'reasoning'])
        expect(sent().messages[1] ?? {}).not.toHaveProperty(field)
    },
  )

  test('Gemini’s schemas (pizza-bot-app/pizza-bot#62, zed-industries/zed#44875, lbjlaq/Antigravity-Manager#61)', async () => {
    both.odd.play(answers('google'))
    const parameters = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      additionalProperties: false,
      properties: {
        count: { anyOf: [{ type: 'integer', exclusiveMinimum: 0 }, { type: 'null' }] },
        step: { type: 'number', multipleOf: 2, exclusiveMaximum: 9 },
        kind: { anyOf: [{ const: 'a' }, { const: 'b' }] },
        map: { type: 'object', propertyNames: { pattern: '^a' }, additionalProperties: { type: 'string' } },
      },
    }
    expect(await ask({ messages: hi, tools: [tool('look', parameters)] }, 'google')).toMatchObject({ by: 'google' })
    const put = JSON.stringify(sent().tools)
    for (const word of ['$schema', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'const', 'propertyNames'])
      expect(put).not.toContain(`"${word}"`)
    expect(put).toContain('"a"')
  })

  test.each(['claude', 'openai', 'local'] as const)(
    'a call that was never answered: %s (dirge-code/dirge#275, QwenLM/qwen-code#2435, anthropics/claude-code#1776)',
    async (name) => {
      both.odd.play(answers(name))
      const messages = [
        ...hi,
        { role: 'assistant', content: null, tool_calls: called('call_1', 'call_2') },
        result('call_1'),
        { role: 'user', content: 'Go on' },
      ]
      expect(await ask({ messages, tools }, name)).toMatchObject({ status: 200, by: name })
      const all = JSON.stringify(sent().messages)
      expect(all.match(/"tool_(?:use|call)_id":"call_\d"/g)).toHaveLength(2)
      expect(all).toContain('Go on')
    },
  )

  test.each(['claude', 'openai', 'local'] as const)(
    'a result of no call: %s (openclaw/openclaw#28377, MoonshotAI/kimi-code#1053, vellum-ai/vellum-assistant#39919)',
    async (name) => {
      both.odd.play(answers(name))
      const messages = [{ role: 'user', content: 'So far: looked.' }, result('call_9'), ...hi]
      expect(await ask({ messages, tools }, name)).toMatchObject({ status: 200, by: name })
      const all = JSON.stringify(sent().messages)
      expect(all).not.toMatch(/"tool_(?:use|call)_id"/)
      expect(all).toContain('Seen.')
    },
  )

  test('an empty text beside an image, to Claude (anthropics/claude-code#55645)', async () => {
    both.odd.play(answers('claude'))
    const content = [
      { type: 'text', text: '' },
      { type: 'image_url', image_url: { url: image } },
    ]
    expect(await ask({ messages: [{ role: 'user', content }] }, 'claude')).toMatchObject({ status: 200, by: 'claude' })
    expect(sent().messages[0].content.map(({ type }: Fields) => type)).toEqual(['image'])
  })

  test('an empty sequence to stop at, to Claude (MegaGrindStone/mcp-web-ui#5)', async () => {
    both.odd.play(answers('claude'))
    await ask({ messages: hi, stop: ['', '\n', 'END'] }, 'claude')
    expect(sent().stop_sequences).toEqual(['END'])
  })

  test('a blank message between a call and its result (BerriAI/litellm#31553)', async () => {
    both.odd.play(answers('local'))
    const input = [
      { role: 'user', content: 'Hi' },
      { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{}' },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: '' }] },
      { type: 'function_call_output', call_id: 'call_1', output: 'Seen.' },
    ]
    const asked = { input, store: false, tools: [{ type: 'function', name: 'look', parameters: { type: 'object' } }] }
    expect((await ask(asked, 'local', '/v1/responses')).status).toBe(200)
    const roles = sent().messages.map(({ role }: Fields) => role)
    expect(roles).toEqual(['user', 'assistant', 'tool'])
  })

  const PDF = `data:application/pdf;base64,${Buffer.from('%PDF-1.4').toString('base64')}`
  test('a file by the Responses API (router-for-me/CLIProxyAPI#1654, cloud-apim/otoroshi-llm-extension#186)', async () => {
    const input = [
      {
        role: 'user',
        content: [
          { type: 'input_file', filename: 'a.pdf', file_data: PDF },
          { type: 'input_text', text: 'What is in it?' },
        ],
      },
    ]
    both.odd.play(answers('claude'))
    expect((await ask({ input, store: false }, 'claude', '/v1/responses')).status).toBe(200)
    expect(sent().messages[0].content[0]).toMatchObject({ type: 'document', source: { type: 'base64' } })
    both.odd.play(answers('openai'))
    expect((await ask({ input, store: false }, 'openai', '/v1/responses')).status).toBe(200)
    expect(sent().messages[0].content[0]).toMatchObject({ type: 'file', file: { filename: 'a.pdf', file_data: PDF } })
  })

  const messagesOf = (messages: object[], more: object = {}) => ({ max_tokens: 99, messages, ...more })
  test('a system message among the others of the Messages API (chenyme/grok2api#595, ollama/ollama#18431)', async () => {
    both.odd.play(answers('openai'))
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'system', content: '<total_tokens>9 left</total_tokens>' },
      { role: 'user', content: 'Go on' },
    ]
    expect((await ask(messagesOf(messages), 'openai', '/v1/messages')).status).toBe(200)
    expect(JSON.stringify(sent().messages)).toMatch(/Hello.*9 left.*Go on/)
  })

  test('text and a picture beside a tool’s result (StringKe/claudex#8, panbanda/higgs#38)', async () => {
    both.odd.play(answers('local'))
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'look', input: {} }] },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'Seen.' },
          { type: 'text', text: 'Now reply visibly' },
          { type: 'image', source: { type: 'url', url: 'https://a.b/c.png' } },
        ],
      },
    ]
    const asked = messagesOf(messages, { tools: [{ name: 'look', input_schema: { type: 'object' } }] })
    expect((await ask(asked, 'local', '/v1/messages')).status).toBe(200)
    const [, , answered, told] = sent().messages
    expect(answered).toMatchObject({ role: 'tool', content: 'Seen.' })
    expect(JSON.stringify(told)).toMatch(/Now reply visibly.*https:\/\/a\.b\/c\.png/)
  })

  test('what was found, as a result (maximhq/bifrost#3537), and a document in one', async () => {
    both.odd.play(answers('local'))
    const text = [{ type: 'text', text: 'It is an island.' }]
    const content = [
      { type: 'search_result', source: 'https://a.b', title: 'Islands', content: text },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'A paper.' }, title: 'Paper' },
    ]
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'look', input: {} }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content }] },
    ]
    const asked = messagesOf(messages, { tools: [{ name: 'look', input_schema: { type: 'object' } }] })
    expect((await ask(asked, 'local', '/v1/messages')).status).toBe(200)
    expect(JSON.stringify(sent().messages)).toMatch(/It is an island\..*A paper\./)
  })

  test('what a server’s tool found comes back in the history (stdapi-ai/stdapi.ai#219)', async () => {
    both.odd.play(answers('local'))
    const found = { type: 'web_search_result', url: 'https://a.b', title: 'A', encrypted_content: 'x', page_age: null }
    const messages = [
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: [
          { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'a' } },
          { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [found] },
          { type: 'text', text: 'It is an island.' },
        ],
      },
      { role: 'user', content: 'Go on' },
    ]
    expect((await ask(messagesOf(messages), 'local', '/v1/messages')).status).toBe(200)
    expect(JSON.stringify(sent().messages)).toContain('It is an island.')
  })

  test('thoughts of the Messages API go back to DeepSeek (QuantumNous/new-api#4806, decolua/9router#1189)', async () => {
    both.odd.play((exchange) =>
      exchange.reply(200, {
        id: 'c1',
        object: 'chat.completion',
        model: 'm',
        choices: [
          {
            index: 0,
            message: { role: 'assistant', content: '', reasoning_content: 'Hm.', tool_calls: called('call_1') },
            finish_reason: 'tool_calls',
          },
        ],
        usage: { prompt_tokens: 1, completion_tokens: 1 },
      }),
    )
    const first = messagesOf([{ role: 'user', content: 'Hi' }], {
      tools: [{ name: 'look', input_schema: { type: 'object' } }],
      thinking: { type: 'enabled', budget_tokens: 2_000 },
      max_tokens: 4_000,
    })
    const { content } = JSON.parse((await ask(first, 'deepseek', '/v1/messages')).text)
    both.odd.play(answers('deepseek'))
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: 'Seen.' }] },
    ]
    expect((await ask({ ...first, messages }, 'deepseek', '/v1/messages')).status).toBe(200)
    expect(sent().messages[1]).toMatchObject({ reasoning_content: 'Hm.' })
  })

  test('lists of tokens to embed are no lists of prompts (envoyproxy/ai-gateway#1404)', async () => {
    const body = { model: 'none', input: [[1, 2], [3]] }
    // Known by its model alone: nothing is said of its input.
    const response = await call(both.gateway, '/v1/embeddings', { body })
    expect([response.status, (await response.json()).error.param]).toEqual([404, 'model'])
  })
})
