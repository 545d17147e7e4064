import { ownOf } from '../../runtime/own.ts'

/** An item of a conversation in the Responses format: as a client sends it, or as the answer holds it. */
export interface InputItem {
  type: string
  id?: string | null
  role?: string
  content?: string | readonly Part[] | null
  call_id?: string
  name?: string
  arguments?: string | null
  input?: string | null
  output?: unknown
  summary?: readonly Part[] | null
  encrypted_content?: string | null
  [key: string]: unknown
}

export interface Part {
  type: string
  text?: string
  [key: string]: unknown
}

/** A message's or a tool's text and pictures. */
export const partsOf = (content: unknown): Part[] =>
  typeof content === 'string'
    ? [{ type: 'input_text', text: content }]
    : Array.isArray(content)
      ? (content as Part[])
      : content === null || content === undefined
        ? []
        : [{ type: 'input_text', text: JSON.stringify(content) }]

/** The id of the response to a request of ours, and of the items in it: a stored response is found by them. */
export const responseId = (requestId: string) => requestId.replace(/^req_/, 'resp_')

/** The request that made a response of ours, by the response's id; any other id stays as it is. */
export const requestIdOf = (id: string) => (OURS.test(id) ? id.replace(/^resp_/, 'req_') : id)

const OURS = /^[a-z]+_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:_i?\d+)?$/

/** The response of ours that an item belongs to, by the item's id; null where it was another's. */
export function responseOfItem(id: string): string | null {
  const uuid = OURS.exec(id)?.[1]
  return uuid === undefined ? null : `resp_${uuid}`
}

/** Id of an item of this response: of its answer, or of what was asked (`i`). */
export const itemId = (kind: string, response: string, index: number, of: '' | 'i' = '') =>
  `${kind}_${response.replace(/^resp_/, '')}_${of}${index}`

const KINDS: Record<string, string> = {
  message: 'msg',
  reasoning: 'rs',
  function_call: 'fc',
  function_call_output: 'fco',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
}

/** What ids of items of this type begin with. */
export const kindOf = (type: string) => ownOf(KINDS, type) ?? 'item'
