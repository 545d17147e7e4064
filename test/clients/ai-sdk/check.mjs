import assert from 'node:assert/strict'
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embed, generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'

const { BASE_URL, KEY, USER_ID } = process.env
const common = { baseURL: BASE_URL, apiKey: KEY, headers: { 'x-user-id': USER_ID } }
const openai = createOpenAI(common)
const anthropic = createAnthropic(common)
const compatible = createOpenAICompatible({
  name: 'gateway',
  ...common,
  supportsStructuredOutputs: true,
  includeUsage: true,
})

for (const provider of [openai, openai.chat, anthropic, compatible]) {
  const asked = []
  const weather = tool({
    description: 'The weather of a city',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city)
      return `17 degrees in ${city}`
    },
  })
  const looping = {
    model: provider('caller'),
    prompt: 'What is the weather in Lisbon?',
    tools: { weather },
    stopWhen: stepCountIs(4),
  }
  assert.match((await generateText(looping)).text, /17 degrees in Lisbon/)
  assert.match(await streamText(looping).text, /17 degrees in Lisbon/)
  assert.deepEqual(asked, ['Lisbon', 'Lisbon'])

  // Two turns by the messages of the first; in its default setting openai() names what the server has kept.
  const messages = [{ role: 'user', content: 'My name is Ada.' }]
  const one = await generateText({ model: provider('auto'), messages })
  const said = [...messages, ...one.response.messages, { role: 'user', content: 'What is my name?' }]
  const two = streamText({ model: provider('auto'), messages: said })
  assert.match(await two.text, /^\[sandbox /)
  assert.ok((await two.usage).outputTokens > 0)
}

const Trip = z.object({ city: z.string(), days: z.number().int() })
for (const provider of [openai, openai.chat, compatible]) {
  const { output } = await generateText({
    model: provider('auto'),
    prompt: 'Plan a trip.',
    output: Output.object({ schema: Trip }),
  })
  Trip.parse(output)
}
const { embedding } = await embed({ model: openai.embedding('text-embedding-3-small'), value: 'Hello' })
assert.deepEqual(embedding, [0.25, -0.5, 1])
const completed = await generateText({ model: openai.completion('auto'), prompt: 'Once upon a time' })
assert.match(completed.text, /^\[sandbox /)
