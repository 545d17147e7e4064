import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'

const { BASE_URL, KEY, USER_ID } = process.env
const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, defaultHeaders: { 'x-user-id': USER_ID }, maxRetries: 0 })
const messages = [{ role: 'user', content: 'What is the weather in Lisbon?' }]
const parameters = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
}
const weather = { name: 'get_weather', description: 'The weather of a city', parameters }
const Trip = z.object({ city: z.string(), days: z.number().int() })

// Chat completions: plain, the stream helper, parsed, and the loop that the SDK itself runs.
const completion = await client.chat.completions.create({ model: 'auto', messages })
assert.match(completion.choices[0].message.content, /^\[sandbox /)
const chat = client.chat.completions.stream({ model: 'auto', messages })
let said = ''
chat.on('content', (delta) => {
  said += delta
})
const whole = await chat.finalContent()
assert.equal(said, whole)
const format = zodResponseFormat(Trip, 'trip')
const parsed = await client.chat.completions.parse({ model: 'auto', messages, response_format: format })
Trip.parse(parsed.choices[0].message.parsed)
const asked = []
const loop = client.chat.completions.runTools({
  model: 'caller',
  messages,
  tools: [
    {
      type: 'function',
      function: {
        ...weather,
        parse: JSON.parse,
        function: ({ city }) => {
          asked.push(city)
          return `17 degrees in ${city}`
        },
      },
    },
  ],
})
assert.equal(await loop.finalContent(), 'The tool said: 17 degrees in Lisbon')
assert.deepEqual(asked, ['Lisbon'])

// Responses: the same, and what the gateway keeps.
const first = await client.responses.create({ model: 'auto', input: 'My name is Ada.' })
assert.match(first.output_text, /^\[sandbox /)
const second = await client.responses.create({ model: 'auto', input: 'And?', previous_response_id: first.id })
assert.equal(second.previous_response_id, first.id)
assert.equal((await client.responses.retrieve(first.id)).output_text, first.output_text)
const stream = client.responses.stream({ model: 'auto', input: 'Hello' })
let text = ''
for await (const event of stream) if (event.type === 'response.output_text.delta') text += event.delta
assert.equal((await stream.finalResponse()).output_text, text)
const trip = await client.responses.parse({
  model: 'auto',
  input: 'Plan it.',
  text: { format: zodTextFormat(Trip, 'trip') },
})
Trip.parse(trip.output_parsed)
const tools = [{ type: 'function', strict: true, ...weather }]
const calling = await client.responses.create({ model: 'caller', input: messages, tools })
const call = calling.output.find(({ type }) => type === 'function_call')
assert.deepEqual(JSON.parse(call.arguments), { city: 'Lisbon' })
const result = { type: 'function_call_output', call_id: call.call_id, output: '17 degrees' }
for (const following of [
  { previous_response_id: calling.id, input: [result] },
  { store: false, input: [...messages, ...calling.output, result] },
]) {
  const told = await client.responses.create({ model: 'caller', tools, ...following })
  assert.equal(told.output_text, 'The tool said: 17 degrees')
}

const { data } = await client.embeddings.create({ model: 'text-embedding-3-small', input: 'Hello' })
assert.deepEqual(data[0].embedding, [0.25, -0.5, 1])
const legacy = await client.completions.create({ model: 'auto', prompt: 'Once upon a time' })
assert.match(legacy.choices[0].text, /^\[sandbox /)
for (const id of [completion.id, first.id]) {
  await client.post('/feedback', { body: { completion_id: id, rating: 'up' } })
}
