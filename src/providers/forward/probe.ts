import type { Candidate } from '../../candidates/candidate.ts'
import { parseChat } from '../../openai/parse-chat.ts'
import { fairTimeout } from '../../runtime/fair-timer.ts'
import { adapt } from '../dialect/adapt.ts'
import { readAll } from '../http/read-all.ts'
import type { Provider } from '../provider.ts'

/** A sound deployment says a few words within this time. */
const PROBE_MS = 20_000
const MAX_BYTES = 1024 * 1024
/** The smallest limit that all take. */
const QUESTION = { model: 'auto', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 16 }

/** Whether a deployment answers something harmless, at the cost of a few tokens. */
export async function answers(candidate: Candidate, provider: Provider): Promise<boolean> {
  const status = await probe(candidate, provider)
  // What it refuses of the probe itself it refuses while it is well.
  return status < 400 || status === 400 || status === 422
}

/** Asks something harmless. @returns the status. @throws UpstreamError */
export async function probe(candidate: Candidate, provider: Provider): Promise<number> {
  const request = adapt(parseChat(Buffer.from(JSON.stringify(QUESTION))), candidate, undefined, false)
  const signal = fairTimeout(PROBE_MS)
  const { status, body } = await provider.chat({ candidate, request, signal, requestId: 'probe' })
  await readAll(body, MAX_BYTES)
  return status
}
