import type { Candidate } from '../../candidates/candidate.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { withFields } from '../../openai/with-fields.ts'
import type { Learned } from './learned.ts'

/** What formats call the bound; embeddings have no answer to bound. */
const NATIVE = {
  chat: null,
  responses: 'max_output_tokens',
  messages: 'max_tokens',
  completions: 'max_tokens',
} as const

/**
 * The request with a bound on the length of its answer, which it has none of, as the candidate spells it. All else are
 * the client's own bytes.
 *
 * @param tokens of one answer
 */
export function withBound(
  request: ChatRequest,
  candidate: Candidate,
  learned: Learned | undefined,
  tokens: number,
): ChatRequest {
  const { native } = request
  const ofNative = native && native.api !== 'embeddings' ? NATIVE[native.api] : null
  const field = spelling(candidate, learned)
  return {
    ...request,
    ...bounded(request, field, tokens),
    body: { ...request.body, [field]: tokens },
    ...(native && ofNative && { native: { ...native, ...bounded(native, ofNative, tokens) } }),
  }
}

function spelling({ dialect, defaults }: Candidate, learned: Learned | undefined): string {
  const [usual, other] = ['max_tokens', 'max_completion_tokens'] as const
  const rule = dialect?.fields[usual]
  const isRenamed = typeof rule === 'object' && rule.rename === other
  return isRenamed || learned?.has(usual) || defaults?.[other] !== undefined ? other : usual
}

const bounded = ({ raw, spans }: Pick<ChatRequest, 'raw' | 'spans'>, field: string, tokens: number) =>
  withFields({ raw, spans }, { [field]: `${tokens}` })
