import assert from 'node:assert/strict'
import { createOpenAI } from '@ai-sdk/openai'
import { Agent } from '@mastra/core/agent'
import { createTool } from '@mastra/core/tools'
import { z } from 'zod'

const { BASE_URL, KEY, USER_ID } = process.env
const headers = { 'x-user-id': USER_ID }
const openai = createOpenAI({ baseURL: BASE_URL, apiKey: KEY, headers })
const asked = []
const weather = createTool({
  id: 'get_weather',
  description: 'The weather of a city',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    asked.push(city)
    return `17 degrees in ${city}`
  },
})

// With the AI SDK's provider (Responses), and with Mastra's own by address (chat completions).
for (const model of [openai('caller'), { id: 'gateway/caller', url: BASE_URL, apiKey: KEY, headers }]) {
  const agent = new Agent({ id: 'weather', name: 'weather', instructions: 'Be brief.', model, tools: { weather } })
  const { text } = await agent.generate('What is the weather in Lisbon?')
  assert.match(text, /The tool said: .*17 degrees in Lisbon/)
  const stream = await agent.stream('And now?')
  assert.match(await stream.text, /The tool said: .*17 degrees in Lisbon/)
}
assert.deepEqual(asked, Array(4).fill('Lisbon'))
const plain = new Agent({ id: 'plain', name: 'plain', instructions: 'Be brief.', model: openai('auto') })
assert.match((await plain.generate('Hello')).text, /^\[sandbox /)
