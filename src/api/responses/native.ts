import type { Candidate } from '../../candidates/candidate.ts'
import type { NativeRequest } from '../../openai/chat.ts'
import type { ResponsesRequest } from '../../openai/responses/body.ts'
import type { InputItem } from '../../openai/responses/items.ts'
import { nativeRequest } from '../../openai/responses/native.ts'
import type { ThoughtSeal } from '../../openai/responses/thoughts.ts'
import { withFields } from '../../openai/with-fields.ts'
import { refers, type WholeConversation } from './conversation.ts'
import type { UnreadableThoughts } from './unreadable.ts'

/** A request, and all that it stands for. */
interface Whole {
  request: ResponsesRequest
  whole: WholeConversation
  /** The provider may keep what it is asked and answers, as far as the gateway is concerned. */
  mayKeep: boolean
  unreadable: UnreadableThoughts
}

/**
 * The request as the candidate's own provider gets it: the client's bytes, where it knows all that they refer to and
 * nothing in them is for another; else with the conversation spelled out.
 */
export function nativeFor(asked: Whole, { name }: Candidate, thoughts: ThoughtSeal): NativeRequest {
  const { request, whole, unreadable } = asked
  const isForOther = (item: InputItem, maker: string | null) =>
    item.type === 'reasoning' &&
    ((maker !== null && maker !== name) ||
      (Boolean(item.encrypted_content) && thoughts.isSealed(String(item.encrypted_content))) ||
      unreadable.has(name, item))
  const isStranger = whole.refers && whole.origin !== name
  const hasOthers = whole.items.some(({ item, maker }) => isForOther(item, maker))
  const isDark = (item: InputItem) => item.type === 'reasoning' && !item.encrypted_content
  const spelledOut = () =>
    whole.items
      .filter(({ item, maker }) => !isForOther(item, maker) && !(isStranger && isDark(item)))
      // By the ids of calls OpenAI would look for the thoughts that belong to them.
      .map(({ item, maker }) => (hasOthers || maker !== name ? withoutId(item) : item))
  return {
    ...nativeOf(asked, isStranger || hasOthers ? spelledOut() : null),
    readable() {
      if (!refers(request) && !whole.items.some(isOfProvider)) return null
      unreadable.note(
        name,
        whole.items.map(({ item }) => item),
      )
      return nativeOf(asked, readable(whole))
    },
  }
}

/** @param items in place of the client's own, and of what they refer to; null leaves both */
function nativeOf({ request, mayKeep }: Whole, items: readonly InputItem[] | null): NativeRequest {
  const changes: Record<string, string | null> = {}
  if (items) {
    changes.input = JSON.stringify(items)
    changes.previous_response_id = null
  }
  if (!mayKeep && request.body.store !== false) changes.store = 'false'
  const { raw, spans } = withFields(request, changes)
  return nativeRequest(raw, spans)
}

/** What a provider has run, and what only the one that made it can read. */
const OF_PROVIDER = new Set([
  'reasoning',
  'web_search_call',
  'file_search_call',
  'code_interpreter_call',
  'image_generation_call',
  'mcp_call',
  'mcp_list_tools',
  'mcp_approval_request',
  'mcp_approval_response',
  'tool_search_call',
  'tool_search_output',
])

const isOfProvider = ({ item }: { item: InputItem }) => OF_PROVIDER.has(item.type)

/** The conversation as every provider can read it. */
const readable = ({ items }: WholeConversation): InputItem[] =>
  items.filter((one) => !isOfProvider(one)).map(({ item }) => withoutId(item))

/** Another's ids mean nothing to a provider, or not what they should; what a provider has run must have one. */
function withoutId(item: InputItem): InputItem {
  if (OF_PROVIDER.has(item.type)) return item
  const { id: _, ...bare } = item
  return bare
}
