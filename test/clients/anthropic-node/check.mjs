import assert from 'node:assert/strict'
import Anthropic from '@anthropic-ai/sdk'
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod'
import { z } from 'zod'

const { BASE_URL, KEY, USER_ID } = process.env
// Its documentation gives the address without /v1; with it, it works too.
for (const baseURL of [BASE_URL, BASE_URL.replace(/\/v1$/, '')]) {
  const client = new Anthropic({ baseURL, apiKey: KEY, maxRetries: 0 })
  const base = { max_tokens: 256, messages: [{ role: 'user', content: 'Hello' }], metadata: { user_id: USER_ID } }
  const message = await client.messages.create({ model: 'claude-opus-5', ...base })
  assert.match(message.content[0].text, /^\[sandbox /)
  const stream = client.messages.stream({ model: 'auto', ...base })
  let said = ''
  stream.on('text', (text) => {
    said += text
  })
  const final = await stream.finalMessage()
  assert.equal(said, final.content[0].text)
  assert.equal(final.stop_reason, 'end_turn')

  // The loop that the SDK runs itself, by its beta endpoint.
  for (const streamed of [false, true]) {
    const asked = []
    const weather = betaZodTool({
      name: 'get_weather',
      description: 'The weather of a city',
      inputSchema: z.object({ city: z.string() }),
      run: ({ city }) => {
        asked.push(city)
        return `17 degrees in ${city}`
      },
    })
    const runner = client.beta.messages.toolRunner({ ...base, model: 'caller', tools: [weather], stream: streamed })
    const last = await runner.runUntilDone()
    assert.equal(last.content.at(-1).text, 'The tool said: 17 degrees in Lisbon')
    assert.deepEqual(asked, ['Lisbon'])
  }
  const counted = await client.messages.countTokens({ model: 'auto', messages: base.messages })
  assert.ok(counted.input_tokens > 0)
  await assert.rejects(client.messages.create({ ...base, model: 'none' }), Anthropic.NotFoundError)
}
