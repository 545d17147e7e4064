import type OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import type { Candidate } from '../../src/candidates/candidate.ts'
import { parseChat } from '../../src/openai/parse-chat.ts'
import { SseObserver } from '../../src/openai/sse-observer.ts'
import { parseUsage } from '../../src/openai/usage.ts'
import { readAll } from '../../src/providers/http/read-all.ts'
import { type Provider, type ProviderAnswer, UpstreamError } from '../../src/providers/provider.ts'

export type Reply = 'plain' | 'tools' | 'error' | 'hang'

/** A provider under test, with whatever answers behind it. */
export interface Subject {
  provider: Provider
  candidate: Candidate
  /** What the provider's own upstream is to answer next; a provider without one brings the answer about by itself. */
  play(reply: Reply, stream: boolean): void
  /** The bodies that arrived there. */
  sent(): Record<string, unknown>[]
  close(): Promise<void>
}

export interface ContractOptions {
  /** It has an upstream that may hang. */
  remote: boolean
  /** The argument of the tool that its `tools` reply calls. */
  city: string
}

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather now',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    },
  },
}

export const chat = (fields: Record<string, unknown> = {}) =>
  parseChat(
    Buffer.from(
      JSON.stringify({
        model: 'auto',
        messages: [{ role: 'user', content: 'What is the capital of France?' }],
        ...fields,
      }),
    ),
  )

/** What every provider promises: OpenAI's format, whatever it speaks itself. */
export function providerContract(name: string, open: () => Promise<Subject>, options: ContractOptions): void {
  describe(`provider contract: ${name}`, () => {
    const subjects: Subject[] = []
    const subject = async () => {
      const opened = await open()
      subjects.push(opened)
      return opened
    }
    afterEach(async () => {
      for (const opened of subjects.splice(0)) await opened.close()
    })

    const call = (
      { provider, candidate }: Subject,
      fields: Record<string, unknown>,
      signal = new AbortController().signal,
    ) => provider.chat({ candidate, request: chat(fields), signal, requestId: 'req-1' })

    test('it can be used, and says so', async () => {
      const { provider } = await subject()
      expect(provider.unavailable).toBe(null)
      expect(provider.name).not.toBe('')
    })

    test('a plain answer is a chat completion with usage', async () => {
      const it = await subject()
      it.play('plain', false)
      const answer = await call(it, {})
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toMatch(/^application\/json/)
      for (const gone of ['content-length', 'transfer-encoding', 'connection', 'content-encoding']) {
        expect(answer.headers).not.toHaveProperty(gone)
      }
      const completion = await json<OpenAI.ChatCompletion>(answer)
      expect(completion.object).toBe('chat.completion')
      expect(completion.choices[0]?.message).toMatchObject({
        role: 'assistant',
        content: expect.stringContaining('France'),
      })
      expect(completion.choices[0]?.finish_reason).toBe('stop')
      expect(parseUsage(completion.usage)?.promptTokens).toBeGreaterThan(0)
      expect(parseUsage(completion.usage)?.completionTokens).toBeGreaterThan(0)
    })

    test('a stream says the same: role first, text, an end, usage, [DONE]', async () => {
      const it = await subject()
      it.play('plain', false)
      const whole = (await json<OpenAI.ChatCompletion>(await call(it, {}))).choices[0]?.message.content
      it.play('plain', true)
      const answer = await call(it, { stream: true })
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toMatch(/^text\/event-stream/)
      const { bytes, chunks } = await events(answer)
      expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant')
      expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(whole)
      const observer = new SseObserver({ dropUsage: false })
      observer.push(bytes)
      expect(observer).toMatchObject({ finishReason: 'stop', done: true, speaks: true, error: null })
      expect(observer.id).toBe(chunks[0]?.id)
      expect(observer.usage?.completionTokens).toBeGreaterThan(0)
    })

    test('a tool call, plain and streamed, has arguments that parse', async () => {
      const it = await subject()
      const fields = {
        tools: [weather],
        tool_choice: 'required',
        messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
      }
      it.play('tools', false)
      const completion = await json<OpenAI.ChatCompletion>(await call(it, fields))
      expect(completion.choices[0]?.finish_reason).toBe('tool_calls')
      const called = completion.choices[0]?.message.tool_calls?.[0]
      expect(called).toMatchObject({ id: expect.any(String), type: 'function', function: { name: 'get_weather' } })
      expect(JSON.parse(called?.type === 'function' ? called.function.arguments : '')).toEqual({ city: options.city })

      it.play('tools', true)
      const { chunks } = await events(await call(it, { ...fields, stream: true }))
      const deltas = chunks
        .flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? [])
        .filter(({ index }) => index === 0)
      expect(deltas[0]).toMatchObject({ id: expect.any(String), function: { name: 'get_weather' } })
      expect(JSON.parse(deltas.map((delta) => delta.function?.arguments ?? '').join(''))).toEqual({
        city: options.city,
      })
      expect(chunks.map(({ choices }) => choices[0]?.finish_reason).filter(Boolean)).toEqual(['tool_calls'])
    })

    if (options.remote) {
      test('the model that the candidate names is asked for', async () => {
        const it = await subject()
        it.play('plain', false)
        await readAll((await call(it, {})).body, 1e6)
        expect(it.sent().at(-1)?.model).toBe(it.candidate.model)
      })

      test("an error has the upstream's status and OpenAI's shape", async () => {
        const it = await subject()
        it.play('error', false)
        const answer = await call(it, {})
        expect(answer.status).toBe(400)
        const { error } = await json<{ error: Record<string, unknown> }>(answer)
        expect(error).toMatchObject({ message: expect.any(String), type: 'invalid_request_error' })
      })

      test.each([false, true])('an abort (stream: %s) ends it with UpstreamError, aborted', async (stream) => {
        const it = await subject()
        it.play('hang', stream)
        const abort = new AbortController()
        const answer = call(it, { stream }, abort.signal)
        setTimeout(() => abort.abort(), 30)
        const error = await answer.catch((caught) => caught)
        expect(error).toBeInstanceOf(UpstreamError)
        expect(error.fault).toBe('aborted')
      })

      test('an abort before the start sends nothing', async () => {
        const it = await subject()
        it.play('plain', false)
        await expect(call(it, {}, AbortSignal.abort())).rejects.toMatchObject({ fault: 'aborted' })
        expect(it.sent()).toEqual([])
      })
    }
  })
}

async function json<T>({ body }: ProviderAnswer): Promise<T> {
  return JSON.parse((await readAll(body, 1e6)).toString()) as T
}

async function events({ body }: ProviderAnswer): Promise<{ bytes: Buffer; chunks: OpenAI.ChatCompletionChunk[] }> {
  const bytes = await readAll(body, 1e6)
  const chunks = bytes
    .toString()
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice(6)) as OpenAI.ChatCompletionChunk)
  return { bytes, chunks }
}
