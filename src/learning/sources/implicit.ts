import type { RouterConfig } from '../../config/schema.ts'
import { openVector } from '../../runtime/sealed-vector.ts'
import type { RewardRecord } from '../../store/records/codec.ts'
import type { ConversationState, InteractionSummary } from '../../store/store.ts'
import type { HintKind } from '../kinds.ts'

/** What a new request tells of the answer before it. */
export interface NextTurn {
  user: string
  lastUserHash: string
  /** Length of the last user message. */
  lastUserChars: number
  messages: number
  toolLoop: boolean
  /** Of the last user message; null where none was computed. */
  embedding: Float32Array | null
  /** Key of the previous one's vector in the conversation's state. */
  seal: Uint8Array
}

export interface ImplicitReward {
  kind: HintKind
  value: number
  weight: number
}

type Weights = RouterConfig['implicit_rewards']

/** "Yes", "go on" and the like are said twice without any complaint. */
const MIN_REPEATED_CHARS = 24
/** Cosine above which a message in the place of another one is the same question in better words. */
const EDITED_SIMILARITY = 0.6
/** Cosine above which a message after an answer asks for the same again. */
const REPHRASED_SIMILARITY = 0.85

/**
 * What a user's next request says of the previous answer of the conversation, without words:
 *
 * - the same request again, or the same long message after the answer: *regeneration*, against it;
 * - a similar message in the place of the last one, or a very similar one after the answer: *edit*, mildly against it;
 * - another message after the answer: *continuation*, mildly for it;
 * - anything else (another user, a tool's result, a conversation that goes back further): nothing.
 */
export function implicitReward(previous: ConversationState, next: NextTurn, weights: Weights): ImplicitReward | null {
  if (previous.user !== next.user || next.toolLoop) return null
  const kind = kindOf(previous, next)
  return kind && weighed(kind, weights)
}

/** The client left before the answer had ended. */
export const abortReward = (finishReason: string, weights: Weights): ImplicitReward | null =>
  finishReason === 'aborted' ? weighed('abort', weights) : null

/** An implicit reward as a row of the log. */
export const implicitRecord = (
  { kind, value, weight }: ImplicitReward,
  { id, tenant, user, ts: askedAt }: Pick<InteractionSummary, 'id' | 'tenant' | 'user' | 'ts'>,
  ts: number,
): RewardRecord => ({
  interaction: id,
  tenant,
  user,
  kind,
  value,
  weight,
  binary: true,
  ts,
  askedAt,
  preferredModel: null,
  comment: null,
})

function kindOf(previous: ConversationState, next: NextTurn): ImplicitReward['kind'] | null {
  const same = previous.lastUserHash === next.lastUserHash
  if (next.messages > previous.messages) {
    if (same) return next.lastUserChars >= MIN_REPEATED_CHARS ? 'regeneration' : null
    return similarity(previous, next) >= REPHRASED_SIMILARITY ? 'edit' : 'continuation'
  }
  if (next.messages < previous.messages) return null
  if (same) return 'regeneration'
  return similarity(previous, next) >= EDITED_SIMILARITY ? 'edit' : null
}

function weighed(kind: ImplicitReward['kind'], weights: Weights): ImplicitReward | null {
  const { enabled, value, weight } = weights[kind]
  return enabled && weight > 0 ? { kind, value, weight } : null
}

/** Cosine of the two last user messages; 0 where it is not known. */
function similarity({ vector }: ConversationState, { embedding: now, seal }: NextTurn): number {
  const before = vector === null ? null : openVector(seal, vector)
  if (!before || !now || before.int8.length !== now.length) return 0
  let [dot, a, b] = [0, 0, 0]
  for (let i = 0; i < now.length; i++) {
    const [x, y] = [before.int8[i]!, now[i]!]
    dot += x * y
    a += x * x
    b += y * y
  }
  return a > 0 && b > 0 ? dot / Math.sqrt(a * b) : 0
}
