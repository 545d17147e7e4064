import { dayOf, evidenceRow, PEOPLE } from '../routing/choose/evidence.ts'
import { MAX_EDGES, type StoredEdge } from '../store/store.ts'
import type { Messages } from './belief.ts'
import { isUsersWord } from './kinds.ts'

/** How long a user must have been here before their word counts for the tenant's others. */
export interface HearingRules {
  /** So many answers that they have spoken of, by what they said or did. */
  minAnswers: number
  /** Since the first of them. */
  minAgeMs: number
}

/**
 * Whether a user has come to be heard: a new id costs nothing, one that has asked for a while does.
 *
 * @param edges all that is kept of the user, the newest included
 */
export function isHeard(
  edges: readonly StoredEdge[],
  since: number,
  now: number,
  { minAnswers, minAgeMs }: HearingRules,
): boolean {
  if (now - since < minAgeMs) return false
  const answers = new Set(edges.filter(isUsersWord).map(({ id }) => id.slice(0, id.indexOf(':'))))
  return answers.size >= minAnswers
}

/**
 * Whether a word was said as this one is: with somebody's answering for the user's name, or without. Whoever has a key
 * can speak in the name of a user who comes with a signed token; that must not be told, nor weighed, as that user's.
 */
export const isSaidAlike = ({ vouched }: Pick<StoredEdge, 'vouched'>, byVouched: boolean): boolean =>
  vouched === undefined || vouched === byVouched

export interface Said {
  /** The user's other edges that were said alike, oldest first. */
  others: readonly StoredEdge[]
  added: StoredEdge
  /** The one that it replaces. */
  old: StoredEdge | undefined
  /** What both say of their LLM; null where the policy can't read them. */
  now: Float32Array | null
  before: Float32Array | null
  /** It is a user's word. */
  counts: boolean
}

/**
 * What one edge more of a user adds to the evidence, by candidate. What they say again and again of an LLM is their
 * taste, not the LLM: the n-th counts 1/n. Of a history that is no longer kept whole nobody can tell how much was said
 * of an LLM before: what comes then counts the less, the more is gone.
 */
export function tellingOf({ others, added, old, now, before, counts }: Said): Map<string, Float32Array> {
  const told: Told = new Map()
  if (!now) return told
  const same = others.filter(({ candidate }) => candidate === added.candidate)
  const whole = wholeOf(old ?? added)
  const share = whole / (1 + same.filter(({ seq }) => seq < (old ?? added).seq).length)
  add(told, added, now, share, counts && !old && same.length === 0 ? whole : 0)
  if (old && before) add(told, { ...old, ts: added.ts }, before, -share, 0)
  return told
}

/** How much of a user's history is kept when an edge comes. */
const wholeOf = ({ seq }: Pick<StoredEdge, 'seq'>) => Math.min(1, MAX_EDGES / seq)

/** What all edges of a user add, once they are heard. @param messages of the edges, in order */
export function wholeTelling(
  edges: readonly StoredEdge[],
  messages: readonly (Messages | null)[],
): Map<string, Float32Array> {
  const told: Told = new Map()
  const said = new Map<string, number>()
  const now = edges.at(-1)?.ts ?? 0
  for (const [i, edge] of edges.entries()) {
    const message = messages[i]
    const nth = (said.get(edge.candidate) ?? 0) + 1
    said.set(edge.candidate, nth)
    if (message && isUsersWord(edge)) {
      add(told, { ...edge, ts: now }, message.llm, 1 / nth, told.has(edge.candidate) ? 0 : 1)
    }
  }
  return told
}

/** What a user told of their tenant's people, and when. */
export interface Telling {
  told: Float32Array
  at: number
}

/**
 * What a user adds to what is known of their tenant's people. It takes the place of what they told before, as far as
 * that has not faded; null: nothing, and they count as one voice more. Nothing at all where the artifact knows one kind
 * of people.
 */
export function ofTenant(
  told: Float32Array,
  before: Telling | null,
  at: number,
  halfLifeDays: number,
): [string, Float32Array][] {
  if (told.length === 0) return []
  // A rating may come later than one that was given after it.
  const last = Math.max(at, before?.at ?? at)
  const kept = before ? 0.5 ** ((storedDayOf(last) - storedDayOf(before.at)) / halfLifeDays) : 0
  const more = before ? told.map((value, i) => value - kept * (before.told[i] ?? 0)) : told
  return [[PEOPLE, evidenceRow(more, { weight: 1 - kept, users: 1 - kept, value: 0, at: last })]]
}

/** As sums have it, so that what is taken back is what is there. */
const storedDayOf = (ms: number) => Math.fround(dayOf(ms))

/** When a user last spoke, of what is kept of them; 0: never. */
export const lastWordOf = (edges: readonly StoredEdge[]): number =>
  edges.reduce((last, edge) => (isUsersWord(edge) ? Math.max(last, edge.ts) : last), 0)

type Told = Map<string, Float32Array>

function add(
  told: Told,
  { candidate, weight, reward, ts }: StoredEdge,
  llm: Float32Array,
  share: number,
  users: number,
) {
  const said = share * weight
  const row = evidenceRow(
    llm.map((value) => share * value),
    { weight: said, users, value: said * reward, at: ts },
  )
  const sum = told.get(candidate)
  told.set(candidate, sum ? row.map((value, i) => (i === row.length - 1 ? value : value + (sum[i] ?? 0))) : row)
}
