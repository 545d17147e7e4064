import { readdirSync, readFileSync } from 'node:fs'
import { GatewayError } from '../../../src/errors.ts'
import { parseRawBody } from '../../../src/openai/raw-body.ts'
import { SseObserver } from '../../../src/openai/sse-observer.ts'

const CORPUS = new URL('corpus/', import.meta.url)

/** Each holds for any bytes whatever; throws where it does not. */
export const targets: Record<string, (bytes: Buffer, random: () => number) => void> = {
  json(bytes) {
    let parsed: ReturnType<typeof parseRawBody>
    try {
      parsed = parseRawBody(bytes)
    } catch (error) {
      if (error instanceof GatewayError && error.status === 400) return
      throw error
    }
    const { json, spans } = parsed
    const names = Object.keys(json)
    if (names.length !== spans.size) throw new Error(`${names.length} fields, ${spans.size} found in the bytes`)
    for (const name of names) {
      const span = spans.get(name)
      const found = span && JSON.stringify(JSON.parse(bytes.toString('utf8', span.start, span.end)))
      if (found !== JSON.stringify(json[name])) throw new Error(`The value of ${name} is not where it was found`)
    }
  },
  sse(bytes, random) {
    const observer = new SseObserver({ dropUsage: false })
    const out: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      const next = Math.min(bytes.length, at + 1 + Math.floor(random() * 40))
      const passed = observer.push(bytes.subarray(at, next))
      if (passed) out.push(passed)
      at = next
    }
    const rest = observer.end()
    if (rest) out.push(rest)
    // An error that SDKs would not see is taken out, and told anew.
    if (observer.errorUntold) return
    const passed = Buffer.concat(out)
    if (!isIntact(passed, bytes) && !isMended(passed, bytes))
      throw new Error('The bytes did not come out as they went in')
  },
}

/** All of it, but for half an event at the end, or with the line ends that the last one lacked. */
function isIntact(out: Buffer, bytes: Buffer): boolean {
  if (out.length > bytes.length) {
    return out.subarray(0, bytes.length).equals(bytes) && /^\n\n?$/.test(out.toString('latin1', bytes.length))
  }
  return bytes.subarray(0, out.length).equals(out)
}

/**
 * Lines in their order: some are missing where no SDK could read their event, and chunks that SDKs can read stand where
 * others could not be.
 */
function isMended(out: Buffer, bytes: Buffer): boolean {
  const given = linesOf(bytes)
  let at = 0
  return linesOf(out).every((line) => {
    const found = given.indexOf(line, at)
    if (found >= 0) at = found + 1
    return found >= 0 || isChunk(line)
  })
}

const linesOf = (bytes: Buffer) =>
  bytes
    .toString('latin1')
    .split(/\r\n|\r|\n/)
    .filter((line) => line !== '')

/** @param event may hold comments, too */
function isChunk(event: string): boolean {
  const data = event.split('\n').filter((line) => line.startsWith('data: {'))
  try {
    return data.length === 1 && Array.isArray(JSON.parse(data[0]!.slice(6)).choices)
  } catch {
    return false
  }
}

/** Inputs by target: what the corpus holds, its file names' ends telling for which. */
export function corpus(target: string): Buffer[] {
  return readdirSync(CORPUS)
    .filter((name) => name.endsWith(`.${target}.bin`))
    .map((name) => readFileSync(new URL(name, CORPUS)))
}

/** A few bytes changed, taken out, doubled, or spliced with another input. */
export function mutate(inputs: readonly Buffer[], random: () => number): Buffer {
  const below = (n: number) => Math.floor(random() * n)
  let bytes = Buffer.from(inputs[below(inputs.length)] ?? Buffer.alloc(0))
  for (let i = 1 + below(6); i > 0; i--) {
    const at = below(bytes.length + 1)
    const end = at + below(16)
    switch (below(4)) {
      case 0:
        if (at < bytes.length) bytes[at] = below(256)
        break
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
        break
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
        break
      default: {
        const other = inputs[below(inputs.length)] ?? bytes
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(below(other.length))])
      }
    }
  }
  return bytes
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
