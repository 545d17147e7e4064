import { execFileSync } from 'node:child_process'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { PROVIDER_KEY, type ScriptedGateway, startScripted } from '../support/scripted-gateway.ts'
import { completionBody, type Script } from '../support/upstream.ts'

/** Each model answers with its own name; the judge finds what the cheap one says better. */
const byModel: Script = (exchange) => {
  const { model, messages } = exchange.json as { model: string; messages: { content: string }[] }
  const asked = messages.at(-1)?.content ?? ''
  const isFirst = asked.indexOf('I am cheap') < asked.indexOf('I am dear')
  const text = model === 'judge' ? `{"better": "${isFirst ? 'first' : 'second'}"}` : `I am ${model}.`
  exchange.reply(200, completionBody(text))
}

let running: ScriptedGateway
beforeAll(async () => {
  const candidate = (name: string, price: number) => ({
    ...{ name, provider: 'up', model: name, context_window: 100_000 },
    price: { input: price, output: price },
  })
  running = await startScripted(
    {
      candidates: [candidate('dear', 100), candidate('cheap', 1), candidate('judge', 1)],
      router: { fallback: 'first', ghost: { judge: 'judge', rate: 1, usd_per_day: 10 } },
      tenants: [{ name: 'test', keys: ['pr-test-key-0123456789abcdef'], candidates: ['dear', 'cheap'] }],
    },
    byModel,
  )
})
afterAll(() => running.close())

test('a second model answers after the client has its answer, and the report says how it did', async () => {
  const { gateway, upstream } = running
  const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
  const { data, response } = await client.chat.completions
    .create(
      { model: 'auto', messages: [{ role: 'user', content: 'Who are you?' }] },
      { headers: { 'x-router-cost-weight': '0', 'x-user-id': 'ann' } },
    )
    .withResponse()
  const chosen = response.headers.get('x-router-model')
  expect(data.choices[0]?.message.content).toBe(`I am ${chosen}.`)
  await eventually(() => upstream.requests.length >= 4, 'the other answer and two comparisons', 30_000)
  const models = upstream.requests.map(({ body }) => JSON.parse(body.toString()).model)
  expect(models).toEqual([chosen, chosen === 'dear' ? 'cheap' : 'dear', 'judge', 'judge'])
  for (const { headers } of upstream.requests) expect(headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`)
  const report = await eventually(
    () => {
      const args = ['bin/persona-router.mjs', '--config', gateway.configFile, 'report', '--tenant', 'test', '--json']
      const { ghosts } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
      return ghosts.length > 0 && ghosts
    },
    'the comparison in the report',
    60_000,
  )
  const wasDear = chosen === 'dear'
  expect(report).toMatchObject([{ answered: chosen, compared: 1, better: wasDear ? 0 : 1, worse: wasDear ? 1 : 0 }])
})
