import { hash } from 'node:crypto'
import type { ChatMessage } from '../openai/chat.ts'
import { EphemeralMap } from '../runtime/ephemeral-map.ts'
import { userKey } from '../runtime/keys.ts'
import type { ConversationState, Store } from '../store/store.ts'

/** Life of a conversation's state: of one that the client named, and of one that is recognised by its opening. */
export const NAMED_TTL_S = 86_400
export const RECOGNISED_TTL_S = 3_600

/** Place of a request in its conversation. */
export interface Turn {
  /** Key of the conversation's state. */
  key: string
  /**
   * Key under which the state's vector is sealed: of the conversation's name, or of how it begins, as the client sends
   * it with each turn and the store does not have it.
   */
  seal: Buffer
  ttlS: number
  /** There was an answer before this request, so that there may be a state to look up. */
  continues: boolean
  /** The last message is a tool's result: the model that called the tool must go on. */
  toolLoop: boolean
  lastUserHash: string
  /** Characters of it. */
  lastUserChars: number
}

/**
 * Places a request in a conversation: the one that `x-conversation-id` names, else the one that opens with the same
 * system and first user message.
 *
 * @param named stored id of the named conversation, or null
 * @param name the client's own name of it, where it gave one
 */
export function turnOf(
  messages: readonly ChatMessage[],
  user: string,
  named: string | null,
  name: string | null = null,
): Turn {
  const lastUser = messages.findLast(({ role }) => role === 'user')
  const said = contentOf(lastUser)
  const opening = () =>
    messages
      .slice(0, messages.findIndex(({ role }) => role === 'user') + 1)
      .flatMap((message) => (message === lastUser ? said : contentOf(message)).texts)
  const opened = digestOf(name === null ? [user, ...opening()] : [user, name])
  const answered = messages.some(({ role }) => role === 'assistant' || role === 'tool')
  return {
    key: named ?? `r:${nameOf(opened)}`,
    seal: opened.subarray(SEAL_AT),
    ttlS: named === null ? RECOGNISED_TTL_S : NAMED_TTL_S,
    continues: answered || named !== null,
    toolLoop: ['tool', 'function'].includes(messages.at(-1)?.role ?? ''),
    lastUserHash: nameOf(digestOf(said.texts)),
    lastUserChars: said.chars,
  }
}

/** Longer texts (mostly images) are told apart by a few slices of them and by their length. */
const [MAX_CHARS, SLICES, SLICE_CHARS] = [16_384, 16, 512]
/** After so many characters of a message, texts are told apart by their length and how they begin and end. */
const MAX_MESSAGE_CHARS = 262_144
const END_CHARS = 32

/** Content of a message, cut so that the work does not grow with its size; `chars` counts all of it. */
function contentOf(message: ChatMessage | undefined): { texts: string[]; chars: number } {
  const texts: string[] = []
  let chars = 0
  let room = MAX_MESSAGE_CHARS
  const visit = (value: unknown): void => {
    if (typeof value === 'string') {
      chars += value.length
      room -= Math.min(value.length, MAX_CHARS)
      if (room < 0 && value.length > END_CHARS) {
        texts.push(`${value.length} ${value.slice(0, END_CHARS / 2)}${value.slice(-END_CHARS / 2)}`)
      } else if (value.length <= MAX_CHARS) texts.push(value)
      else texts.push(`${value.length}`, ...slicesOf(value))
    } else if (typeof value === 'object' && value !== null) {
      texts.push(Array.isArray(value) ? '[' : '{')
      for (const [key, inner] of Object.entries(value)) {
        texts.push(key)
        visit(inner)
      }
      texts.push('}')
    } else texts.push(String(value))
  }
  visit(message?.content ?? null)
  // Joined and hashed once, not wherever the message counts.
  return { texts: room < 0 ? [digestOf(texts).toString('base64url')] : texts, chars }
}

function slicesOf(text: string): string[] {
  const step = (text.length - SLICE_CHARS) / (SLICES - 1)
  return Array.from({ length: SLICES }, (_, i) => text.slice(i * step, i * step + SLICE_CHARS))
}

/**
 * In one call: an object that is fed part by part costs more than the hash (docs/profile.md). By way of a string: a
 * buffer that Node makes has memory of its own outside V8's heap, which costs half as much again.
 */
const digestOf = (parts: string[]): Buffer => Buffer.from(hash('sha512', `${parts.join('\0')}\0`, 'binary'), 'binary')

/** 128 bits name a text. */
const nameOf = (digest: Buffer) => digest.toString('base64url', 0, NAME_BYTES)

const NAME_BYTES = 16
/** The other half of a digest, of which its name tells nothing. */
const SEAL_AT = 32

/**
 * States of conversations. A state is found from `note` on, though it reaches the store only after the answer: the next
 * request may be here before that.
 */
export class Conversations {
  readonly #store: Store
  readonly #onStoreError: () => void
  readonly #pending = new EphemeralMap<ConversationState>()

  constructor(store: Store, onStoreError: () => void) {
    this.#store = store
    this.#onStoreError = onStoreError
  }

  /** Null where there is none, and where the store can't tell. */
  async load(tenant: string, key: string): Promise<ConversationState | null> {
    try {
      return this.#pending.get(userKey(tenant, key)) ?? (await this.#store.loadConversation(tenant, key))
    } catch {
      this.#onStoreError()
      return null
    }
  }

  /** Must be followed by `save` or `forget`. */
  note(tenant: string, { key }: Turn, state: ConversationState): void {
    this.#pending.set(userKey(tenant, key), state)
  }

  /** @returns the state that it replaces. @throws StoreError */
  save(tenant: string, turn: Turn, state: ConversationState): Promise<ConversationState | null> {
    return this.#store
      .saveConversation(tenant, turn.key, state, turn.ttlS)
      .finally(() => this.forget(tenant, turn, state))
  }

  /** A noted state that is not to be found any more; a later one stays. */
  forget(tenant: string, { key }: Turn, state: ConversationState): void {
    const pending = userKey(tenant, key)
    if (this.#pending.get(pending) === state) this.#pending.delete(pending)
  }
}
