import assert from 'node:assert/strict'
import { HumanMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { Providers, Run } from '@librechat/agents'
import { z } from 'zod'

// LibreChat's own runtime, with what its server gives it for a custom endpoint: the address, and its user in the body.
const { BASE_URL, KEY, USER_ID } = process.env
const asked = []
const weather = tool(
  ({ city }) => {
    asked.push(city)
    return `17 degrees in ${city}`
  },
  { name: 'get_weather', description: 'The weather of a city', schema: z.object({ city: z.string() }) },
)

async function ask(prompt, llm, tools = []) {
  const run = await Run.create({
    runId: crypto.randomUUID(),
    graphConfig: {
      type: 'standard',
      instructions: 'Be brief.',
      tools,
      llmConfig: {
        provider: Providers.OPENAI,
        apiKey: KEY,
        streaming: true,
        user: USER_ID,
        configuration: { baseURL: BASE_URL, defaultHeaders: { 'x-conversation-id': 'of-librechat' } },
        ...llm,
      },
    },
    customHandlers: {},
  })
  const config = { configurable: { thread_id: crypto.randomUUID() }, streamMode: 'values', version: 'v2' }
  await run.processStream({ messages: [new HumanMessage(prompt)] }, config)
  return run.getRunMessages().at(-1).text
}

for (const useResponsesApi of [false, true]) {
  asked.length = 0
  assert.match(await ask('Say hello.', { model: 'auto', useResponsesApi }), /^\[sandbox /)
  const told = await ask('What is the weather in Lisbon?', { model: 'caller', useResponsesApi }, [weather])
  assert.match(told, /The tool said: 17 degrees in Lisbon/)
  assert.deepEqual(asked, ['Lisbon'])
}
