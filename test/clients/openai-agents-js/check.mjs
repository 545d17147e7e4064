import assert from 'node:assert/strict'
import { Agent, run, setDefaultOpenAIClient, setTracingDisabled, tool } from '@openai/agents'
import OpenAI from 'openai'
import { z } from 'zod'

setTracingDisabled(true)
const { BASE_URL, KEY, USER_ID } = process.env
setDefaultOpenAIClient(new OpenAI({ baseURL: BASE_URL, apiKey: KEY, defaultHeaders: { 'x-user-id': USER_ID } }))

const asked = []
const weather = tool({
  name: 'get_weather',
  description: 'The weather of a city',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    asked.push(city)
    return `17 degrees in ${city}`
  },
})
const agent = new Agent({ name: 'Weather', instructions: 'Be brief.', model: 'caller', tools: [weather] })
const first = await run(agent, 'What is the weather in Lisbon?')
assert.deepEqual(asked, ['Lisbon'])
assert.match(first.finalOutput, /17 degrees in Lisbon/)

const plain = new Agent({ name: 'Plain', instructions: 'Be brief.', model: 'auto' })
const one = await run(plain, 'My name is Ada.')
const two = await run(plain, [...one.history, { role: 'user', content: 'What is my name?' }])
assert.match(two.finalOutput, /^\[sandbox /)
const three = await run(plain, 'And now?', { previousResponseId: two.lastResponseId })
assert.match(three.finalOutput, /^\[sandbox /)

const stream = await run(plain, 'Hello', { stream: true })
let text = ''
for await (const piece of stream.toTextStream()) text += piece
await stream.completed
assert.equal(text, stream.finalOutput)
