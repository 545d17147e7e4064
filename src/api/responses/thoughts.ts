import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { parseJson } from '../../openai/error.ts'
import type { ThoughtSeal, Thoughts } from '../../openai/responses/thoughts.ts'
import type { Seal } from '../../runtime/seal.ts'

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
    open: (candidate, text) => {
      if (!text.startsWith(MARK)) return null
      const bytes = seal.open(Buffer.from(text.slice(MARK.length), 'base64url'), context(candidate))
      return bytes && ((parseJson(inflateRawSync(bytes)) as Thoughts | undefined) ?? null)
    },
    isSealed: (text) => text.startsWith(MARK),
  }
}
