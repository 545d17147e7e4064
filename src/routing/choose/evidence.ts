import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { ANONYMOUS } from '../../candidates/tenants.ts'
import type { RouterConfig } from '../../config/schema.ts'
import type { Evidence } from '../../store/store.ts'

/** Slots of each kind per candidate: more tell voices apart better and take more room in the store. */
const SLOTS = 16
const SEPARATOR = '#'
const DAY_MS = 86_400_000

/** On whose behalf an answer is judged. */
export interface Speaker {
  user: string
  /** Id of the key. */
  key: string
  /** Somebody answers for the user's name: a key that is bound to them, a signed token, or the operator's word. */
  vouched: boolean
}

/** The judge's voice, with whose answers it judged behind it: see `judgeOf`. */
export const JUDGE = 'j'
export const isJudge = (voice: string): boolean => voice.startsWith(JUDGE)

/**
 * Whose opinion it is that something adds to: a user's, whom somebody vouches for, or a key's. User ids that a client
 * makes up cost nothing, so that all users of one key are one voice. Of each kind there are a few slots, by a hash: the
 * store need not know who said what.
 */
export const voiceOf = ({ user, key, vouched }: Speaker): string =>
  vouched && user !== ANONYMOUS ? `u${slotOf(user)}` : `k${slotOf(key)}`

/**
 * How many of several voices are heard where each is to count once: keys that vouch for nobody count half, since
 * whoever has one may have several.
 */
export const hearingOf = (voices: Iterable<string>): number => [...voices].reduce((sum, voice) => sum + sayOf(voice), 0)
export const sayOf = (voice: string): number => (voice.startsWith('u') ? 1 : 0.5)

/** Each request asks. */
const slots = new LRUCache<string, number>({ max: 4_096 })

export function slotOf(id: string): number {
  let slot = slots.get(id)
  if (slot === undefined) {
    slot = createHash('sha256').update(id).digest().readUInt8(0) % SLOTS
    slots.set(id, slot)
  }
  return slot
}

/** Where evidence on an artifact's candidates is kept; under the bare version lies what earlier releases kept. */
export const evidenceKey = (policy: string) => `voices:${policy}`
export const evidenceName = (candidate: string, voice: string) => candidate + SEPARATOR + voice

/** Under which lies, beside what is said of candidates, what users tell of their tenant; no candidate is called so. */
export const PEOPLE = '*people'

/** Under which lies when what users told of their tenant was forgotten: the mark's name, Unix milliseconds. */
export const forgottenKey = (policy: string) => `forgotten:${policy}`

/** When that was last; 0: never. What users told before has to be told again. */
export const forgottenAt = (marks: Evidence): number =>
  [...marks.keys()].reduce((last, at) => Math.max(last, Number(at) || 0), 0)

/** What follows a sum of messages: how much was said by how many, and when that was last brought up to date. */
export const TALLY = 4
const WEIGHT = 0
const USERS = 1
const VALUE = 2
const DAY = 3

export const dayOf = (ms: number) => ms / DAY_MS

/** A message, or a sum of some, with its tally. */
export function evidenceRow(
  message: ArrayLike<number>,
  { weight, users, value, at }: { weight: number; users: number; value: number; at: number },
): Float32Array {
  const row = new Float32Array(message.length + TALLY)
  row.set(message)
  row.set([weight, users, value, dayOf(at)], message.length)
  return row
}

export interface EvidenceRules {
  /** So many voices must have spoken of a candidate before that moves anything. */
  quorum: number
  /** What all users of one key that vouches for none count for at most: so many users, so many ratings each. */
  keyWeight: number
  /** What was said counts half after so long. */
  halfLifeDays: number
}

export const evidenceRules = ({ shared_after_users, shared_evidence }: RouterConfig): EvidenceRules => ({
  quorum: shared_after_users,
  keyWeight: shared_evidence.key_weight,
  halfLifeDays: shared_evidence.half_life_days,
})

/** What one voice says of one candidate. */
export interface Opinion {
  voice: string
  /** Users who spoke, ratings that they gave (a user's n-th counts 1/n), and the mean of these: all fade. */
  users: number
  ratings: number
  mean: number
  /** What that counts for: towards the quorum, and in the sum, in ratings. */
  heads: number
  weight: number
  sum: Float32Array
  /** Unix milliseconds. */
  at: number
}

/**
 * Sums by candidate of what voices say: no plain sums, so that nobody gets louder by speaking under many names.
 *
 * - A key that vouches for no user saturates: n users count as keyWeight n / (n + keyWeight), and so do their ratings.
 * - Opinions count once there are `quorum` of them: one user's ratings do not affect others, and can't be read from
 *   what others are served. The judge is the operator's own, and counts at once, as one key at most. Yet what it sees
 *   is up to who asks, so that its words on one voice's answers are pooled with those on others' in the same way.
 * - A voice further from the (weighted) median than its own noise explains counts less: bounded influence (Huber 1964),
 *   redescending. As long as most of the weight is honest, the rest can't drag the sum along.
 */
export function pooledEvidence(rows: Evidence, rules: EvidenceRules, now: number): Evidence {
  const pooled: Evidence = new Map()
  for (const [candidate, opinions] of opinionsOf(rows, rules, now)) {
    const judged = opinions.filter(({ voice }) => isJudge(voice))
    const counted = [
      ...(isHeard(opinions, rules) ? opinions.filter(({ voice }) => !isJudge(voice)) : []),
      ...(judged.length > 0 ? [judgeOf(judged, rules)] : []),
    ]
    const sum = robustSum(counted, rules, candidate === PEOPLE ? KEYS_ON_PEOPLE : KEYS_TOGETHER)
    if (sum) pooled.set(candidate, sum)
  }
  return pooled
}

/** Whether enough voices have spoken. */
export const isHeard = (opinions: readonly Opinion[], { quorum }: EvidenceRules) => headsOf(opinions) >= quorum

export const headsOf = (opinions: readonly Opinion[]) => opinions.reduce((sum, { heads }) => sum + heads, 0)

/** What each voice says of each candidate, as of now. */
export function opinionsOf(rows: Evidence, rules: EvidenceRules, now: number): Map<string, Opinion[]> {
  const found = new Map<string, Opinion[]>()
  for (const [name, row] of rows) {
    const at = name.lastIndexOf(SEPARATOR)
    const opinion = opinionOf(name.slice(at + 1), row, rules, now)
    if (at < 0 || !opinion) continue
    const candidate = name.slice(0, at)
    found.set(candidate, [...(found.get(candidate) ?? []), opinion])
  }
  return found
}

function opinionOf(voice: string, row: Float32Array, rules: EvidenceRules, now: number): Opinion | null {
  const tally = row.subarray(row.length - TALLY) as unknown as [number, number, number, number]
  const kept = 0.5 ** (Math.max(0, dayOf(now) - tally[DAY]) / rules.halfLifeDays)
  const [users, ratings] = [kept * tally[USERS], kept * tally[WEIGHT]]
  // What was taken back leaves nothing, or the like of it.
  if (!(ratings > 1e-3)) return null
  return {
    voice,
    users,
    ratings,
    mean: tally[VALUE] / tally[WEIGHT],
    heads: isJudge(voice) ? 0 : countedOf(voice, users, rules),
    weight: countedOf(voice, ratings, rules),
    sum: row.subarray(0, -TALLY).map((value) => kept * value),
    at: tally[DAY] * DAY_MS,
  }
}

/** What so many users of a voice, or ratings, count as: those of a key that vouches for none saturate. */
export const countedOf = (voice: string, n: number, { keyWeight }: Pick<EvidenceRules, 'keyWeight'>): number =>
  voice.startsWith('u') ? n : (keyWeight * n) / (keyWeight + n)

/** Distance from the median, on the scale of rewards (-1 to 1), that honest voices differ by; noise of a rating. */
const APART = 0.5
const NOISE = 2

/** All keys that vouch for nobody, together, in keys: whoever has one may have several. */
const KEYS_TOGETHER = 2

/**
 * The same of what is told of a tenant's people: there, five users decide, and no median tells the odd voices, so that
 * more keys say no more than one.
 */
const KEYS_ON_PEOPLE = 1

function robustSum(
  opinions: readonly Opinion[],
  { keyWeight }: EvidenceRules,
  keysTogether: number,
): Float32Array | null {
  const isKey = ({ voice }: Opinion) => voice.startsWith('k')
  const ofKeys = opinions.filter(isKey).reduce((sum, { weight }) => sum + weight, 0)
  const crowding = Math.min(1, (keysTogether * keyWeight) / ofKeys)
  const centre = medianOf(opinions.filter(({ voice }) => voice !== JUDGE))
  let total: Float32Array | null = null
  for (const opinion of opinions) {
    const { voice, sum, ratings, weight, mean } = opinion
    const trust = voice === JUDGE ? 1 : influence(mean - centre, ratings) * (isKey(opinion) ? crowding : 1)
    const share = (trust * weight) / ratings
    total = sum.map((value, i) => (total?.[i] ?? 0) + share * value)
  }
  return total
}

/** The judge's words on all voices' answers, as one opinion. */
function judgeOf(opinions: readonly Opinion[], rules: EvidenceRules): Opinion {
  const centre = medianOf(opinions)
  const [first] = opinions as [Opinion]
  const sum = new Float32Array(first.sum.length)
  let [ratings, said, at] = [0, 0, 0]
  for (const opinion of opinions) {
    const counted = influence(opinion.mean - centre, opinion.ratings) * opinion.weight
    for (const [i, value] of opinion.sum.entries()) sum[i] = (sum[i] ?? 0) + (counted / opinion.ratings) * value
    ratings += counted
    said += counted * opinion.mean
    at = Math.max(at, opinion.at)
  }
  return { ...first, voice: JUDGE, ratings, mean: said / ratings, weight: Math.min(rules.keyWeight, ratings), sum, at }
}

/** 1 for a voice that is as near the others as its noise explains, falling as the square of the distance beyond. */
export function influence(distance: number, ratings: number): number {
  const allowed = APART + NOISE / Math.sqrt(ratings)
  return Math.abs(distance) <= allowed ? 1 : (allowed / distance) ** 2
}

/** By weight, of the voices' means. */
function medianOf(opinions: readonly Opinion[]): number {
  const sorted = opinions.toSorted((a, b) => a.mean - b.mean)
  const half = sorted.reduce((sum, { weight }) => sum + weight, 0) / 2
  let below = 0
  for (const { mean, weight } of sorted) {
    below += weight
    if (below >= half) return mean
  }
  return 0
}
