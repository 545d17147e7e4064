/**
 * What reading along in a stream costs a chunk: `SseObserver`, which passes bytes on as they came, beside
 * `eventsource-parser` with `JSON.parse` of each event, and with an event written anew, as a gateway would that takes
 * the usage event out.
 *
 *     node test/bench/sse.ts [rounds]
 *
 * Streams of 400 chunks, one a packet. CPU of the process, median and best of the rounds, which take turns.
 */
import { createParser } from 'eventsource-parser'
import { SseObserver } from '../../src/openai/sse-observer.ts'
import { chunkOf } from '../support/upstream.ts'

const [rounds = 15] = process.argv.slice(2).map(Number)
const CHUNKS = 400
const STREAMS = 200
const usage = { prompt_tokens: 50, completion_tokens: CHUNKS, total_tokens: CHUNKS + 50 }
const event = (json: unknown) => Buffer.from(`data: ${JSON.stringify(json)}\n\n`)
const stream = [
  event(chunkOf({ role: 'assistant', content: '' })),
  ...Array.from({ length: CHUNKS }, (_, i) => event(chunkOf({ content: ` word${i}` }))),
  event(chunkOf({}, 'stop')),
  event({ ...chunkOf({}), choices: [], usage }),
  Buffer.from('data: [DONE]\n\n'),
]

/** What each learns of a stream; they must agree. */
type Learned = [tokens: number | undefined, reason: string | null, done: boolean, passed: number]

function ours(): Learned {
  const observer = new SseObserver({ dropUsage: true })
  let passed = 0
  for (const chunk of stream) passed += observer.push(chunk)?.length ?? 0
  return [observer.usage?.completionTokens, observer.finishReason, observer.done, passed]
}

function parsed(rewrite: boolean): Learned {
  const learned: Learned = [undefined, null, false, 0]
  let out: Buffer[] = []
  const parser = createParser({
    onEvent({ data }) {
      if (data === '[DONE]') learned[2] = true
      const json = data === '[DONE]' ? null : JSON.parse(data)
      learned[0] = json?.usage?.completion_tokens ?? learned[0]
      learned[1] = json?.choices[0]?.finish_reason ?? learned[1]
      if (json?.usage) return
      if (rewrite) out.push(Buffer.from(`data: ${data}\n\n`))
    },
  })
  const decoder = new TextDecoder()
  for (const chunk of stream) {
    parser.feed(decoder.decode(chunk, { stream: true }))
    for (const bytes of out) learned[3] += bytes.length
    out = []
  }
  return learned
}

const ways = { SseObserver: ours, 'eventsource-parser': () => parsed(false), 'and written anew': () => parsed(true) }
const known = ours()
if (String(parsed(true)) !== String(known)) throw new Error(`${parsed(true)} is not ${known}`)

const took: Record<string, number[]> = {}
for (let i = -2; i < rounds; i++) {
  for (const [name, read] of Object.entries(ways)) {
    const before = process.cpuUsage()
    for (let n = 0; n < STREAMS; n++) read()
    const { user, system } = process.cpuUsage(before)
    if (i < 0) continue
    took[name] ??= []
    took[name].push((user + system) / (STREAMS * stream.length))
  }
}
for (const [name, values] of Object.entries(took)) {
  values.sort((a, b) => a - b)
  console.log(`${name.padEnd(20)} ${values[values.length >> 1]!.toFixed(2)} us a chunk, best ${values[0]!.toFixed(2)}`)
}
