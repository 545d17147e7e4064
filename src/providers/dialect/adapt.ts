import { type Candidate, spokenBy } from '../../candidates/candidate.ts'
import { UnsupportedRequest } from '../../errors.ts'
import type { ChatBody, ChatRequest, Span } from '../../openai/chat.ts'
import { historyFor } from './history.ts'
import type { Learned } from './learned.ts'
import { nativeFor, unfitNativeTool } from './native.ts'
import { type Edit, planOf } from './plan.ts'
import { toolsFor } from './tools.ts'

/**
 * A request as a candidate takes it. What is not changed are the client's own bytes; nothing changed, the very request.
 *
 * @param strict nothing may be left off
 * @param obeyed the client has named the candidate: what can't be adapted goes as it is, for the provider to judge
 * @throws UnsupportedRequest where the candidate can't take it without a loss
 */
export function adapt(
  request: ChatRequest,
  candidate: Candidate,
  learned: Learned | undefined,
  strict: boolean,
  obeyed = false,
): ChatRequest {
  const { name } = candidate
  const dialect = spokenBy(candidate, request)
  if (strict && request.dropped?.length) {
    throw new UnsupportedRequest(`${name} does not take ${request.dropped.join(', ')}.`, request.dropped[0] as string)
  }
  if (!dialect && !learned) return request
  // A request in the provider's own format is its own business, where the client named the model.
  if (request.native && obeyed) return request
  const plan = planOf(request, dialect, learned, strict, obeyed)
  if (typeof plan === 'string') throw new UnsupportedRequest(`${name} ${plan}.`, 'model')
  // What is in the provider's own format needs no translation of its messages.
  if (request.native) {
    const type = unfitNativeTool(request.native, dialect?.tools.types)
    if (type !== undefined) throw new UnsupportedRequest(`${name} does not take tools of type ${type}.`, 'tools')
    const { native, dropped } = nativeFor(request.native, plan)
    return native === request.native
      ? request
      : { ...request, native, dropped: [...(request.dropped ?? []), ...dropped] }
  }
  const edits = new Map(plan.edits)
  const dropped = [...plan.dropped]
  const isConverted = request.format !== undefined
  const history = historyFor(request.body.messages, dialect, learned, isConverted)
  if (history.messages.length === 0)
    throw new UnsupportedRequest(`${name} needs a message that says something.`, 'messages')
  if (history.messages !== request.body.messages) edits.set('messages', { name: 'messages', value: history.messages })
  dropped.push(...history.dropped)
  if (dialect && request.body.tools?.length) {
    const offered = toolsFor(request.body, dialect.tools)
    if (offered.tools !== request.body.tools) edits.set('tools', { name: 'tools', value: offered.tools })
    if (offered.choice) edits.set('tool_choice', { name: 'tool_choice', value: offered.choice })
    if (offered.dropped) dropped.push('tools.strict')
  }
  if (strict && dropped.length > plan.dropped.length) {
    throw new UnsupportedRequest(`${name} does not take ${dropped.slice(plan.dropped.length).join(', ')}.`, 'model')
  }
  if (edits.size === 0) return request
  const all = [...(request.dropped ?? []), ...dropped]
  return { ...edited(request, edits), ...(all.length > 0 && { dropped: [...new Set(all)] }) }
}

function edited(request: ChatRequest, edits: ReadonlyMap<string, Edit | null>): ChatRequest {
  const { raw } = request
  const body: [name: string, value: unknown][] = []
  const spans = new Map<string, Span>()
  const pieces: Uint8Array[] = []
  let length = 0
  const add = (bytes: Uint8Array) => {
    pieces.push(bytes)
    length += bytes.length
  }
  for (const [field, span] of request.spans) {
    const edit = edits.get(field)
    if (edit === null) continue
    const name = edit?.name ?? field
    const isNew = edit?.value !== undefined
    add(Buffer.from(`${length === 0 ? '{' : ','}${JSON.stringify(name)}:`))
    const start = length
    add(isNew ? Buffer.from(JSON.stringify(edit.value)) : raw.subarray(span.start, span.end))
    spans.set(name, { start, end: length })
    body.push([name, isNew ? edit.value : request.body[field]])
  }
  add(Buffer.from('}'))
  return {
    ...request,
    // Also where a client names a field __proto__.
    body: Object.fromEntries(body) as unknown as ChatBody,
    raw: Buffer.concat(pieces, length),
    spans,
  }
}
