import { isObject } from './is-object.ts'

type Fields = Record<string, unknown>

/** Kinds of content that can be told in texts; references say which of the search results stands behind a text. */
const TOLD = new Set(['text', 'thinking', 'reference'])

/**
 * Content that is a list of texts and thoughts (Mistral) as a text, and the thoughts in `reasoning_content`; the very
 * same where it is none.
 */
export function plainContent(said: Fields): Fields {
  const { content } = said
  if (!Array.isArray(content)) return said
  const parts = content.filter(isObject)
  if (parts.length < content.length || parts.some(({ type }) => !TOLD.has(String(type)))) return said
  const texts = parts.filter(({ type }) => type === 'text').map(({ text }) => textOf(text))
  const thoughts = parts.map(({ thinking }) => textOf(thinking)).join('')
  return {
    ...said,
    content: texts.length > 0 ? texts.join('') : null,
    ...(thoughts !== '' && !said.reasoning_content && { reasoning_content: thoughts }),
  }
}

/** Thoughts in the field that a client reads, beside the one that its server has: DeepSeek's, or OpenRouter's. */
export function withThoughtsAs(said: Fields, field: 'reasoning' | 'reasoning_content'): Fields {
  const other = said[field === 'reasoning' ? 'reasoning_content' : 'reasoning']
  return typeof other !== 'string' || said[field] ? said : { ...said, [field]: other }
}

/** A text, or a list of parts with texts. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.map((part) => (isObject(part) ? textOf(part.text) : '')).join('') : ''
}

const TEXTS = ['content', 'reasoning_content', 'reasoning', 'refusal'] as const

/** Texts of a stream in which each character is whole: some servers cut between the halves of a surrogate pair. */
export class Halves {
  readonly #waiting = new Map<string, string>()

  get isWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** @param isLast nothing comes that could hold the other half */
  mended(said: Fields, isLast: boolean): Fields {
    let own = said
    for (const field of TEXTS) {
      const value = said[field]
      const before = this.#waiting.get(field)
      if (before === undefined && typeof value !== 'string') continue
      const [text, half] = joinHalves(before ?? '', typeof value === 'string' ? value : '', isLast)
      if (half === '') this.#waiting.delete(field)
      else this.#waiting.set(field, half)
      if (text !== value && !(text === '' && typeof value !== 'string')) own = { ...own, [field]: text }
    }
    return own
  }
}

/** A piece of text behind the half that came before it, and the half that it ends with. */
export function joinHalves(before: string, piece: string, isLast: boolean): [text: string, half: string] {
  const text = before + piece
  const last = text.charCodeAt(text.length - 1)
  if (!(last >= 0xd800 && last <= 0xdbff)) return [text, '']
  const rest = text.slice(0, -1)
  return isLast ? [`${rest}\ufffd`, ''] : [rest, text.slice(-1)]
}
