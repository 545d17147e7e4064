import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { UnsupportedRequest } from '../../errors.ts'
import { parseJson } from '../../openai/error.ts'
import type { ThoughtSeal, Thoughts } from '../../openai/responses/thoughts.ts'
import type { Seal } from '../../runtime/seal.ts'

/** Null where it is larger than that. */
function inflated(bytes: Buffer, most: number): Buffer | null {
  try {
    return most > 0 ? inflateRawSync(bytes, { maxOutputLength: most }) : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return null
    throw error
  }
}

/** Tells thoughts that we sealed from those that a provider encrypted. */
const MARK = 'pr1.'

/** Seals a model's thoughts for the client to keep: only this tenant's same candidate gets them back. */
export function thoughtSeal(seal: Seal, tenant: string): ThoughtSeal {
  const context = (candidate: string) => `thoughts\0${tenant}\0${candidate}`
  return {
    seal: (candidate, thoughts) => {
      const bytes = deflateRawSync(Buffer.from(JSON.stringify(thoughts)))
      return MARK + seal.seal(bytes, context(candidate)).toString('base64url')
    },
    open: (candidate, text, room) => {
      if (!text.startsWith(MARK)) return null
      const bytes = seal.open(Buffer.from(text.slice(MARK.length), 'base64url'), context(candidate))
      if (!bytes) return null
      // Words said over and over take a thousandth of their size, and a client can send them as often as it likes.
      const json = inflated(bytes, room.left)
      if (!json) throw new UnsupportedRequest(`${candidate} does not take so many thoughts.`, 'input')
      room.left -= json.length
      return (parseJson(json) as Thoughts | undefined) ?? null
    },
    isSealed: (text) => text.startsWith(MARK),
  }
}
