import { FAVOURITE_ONLY } from '../routing/choose/safe-caution.ts'

/** What a candidate is expected to be worth to a user, as far as words need it; a log does not keep all of it. */
export interface Weighed {
  name: string
  mean: number | null
  /** Parts of the expected reward, which sum to it: quality, cost, length, liking. */
  parts?: Readonly<Record<string, number>> | null
  quality?: number | null
  predicted_cost_usd: number
  completion_tokens?: number
  excluded?: string | null
}

/** One thing that a user said of an answer. */
export interface Said {
  candidate: string
  /** -1 to 1. */
  reward: number
  /** Of the answer; null where unknown. */
  tokens: number | null
}

/** Whom the user wants to answer tasks of a kind. */
export interface Wish {
  /** Null where that is not known any more. */
  task: string | null
  candidate: string
  /** Null where it answers. */
  why_not: string | null
}

/** Whom a candidate had to be surely better than, and how surely. */
export interface Care {
  /** The baseline, or whom new users like most. */
  favourite: string | null
  /** Deviations of the difference. */
  caution: number
  /** Chance that is put up with that this user is worse off; null: no such bound. */
  risk: number | null
}

/** Differences below these are not worth a word: of a reward, of a share. */
const NOTABLE = 0.005
const ALIKE = 0.03
const TIMES = 1.5

/**
 * Why one candidate is chosen over the best of the others, in sentences for people. Says only what the figures say.
 *
 * @param reason of the decision, as in `x-router-reason`
 * @param said newest last
 * @param care how surely a candidate had to be better to be chosen; null where that is not known
 * @param wish what the user stated of such tasks; null where they did not
 */
export function whyInWords(
  chosen: string,
  reason: string,
  candidates: readonly Weighed[],
  said: readonly Said[],
  care: Care | null = null,
  wish: Wish | null = null,
): string[] {
  const own = candidates.find(({ name }) => name === chosen)
  if (!own) return []
  const first = REASONS[reason]?.(chosen) ?? `${chosen} is chosen (${reason}).`
  const possible = candidates.filter(({ name, excluded, mean }) => name !== chosen && !excluded && mean !== null)
  const rival = possible.toSorted((a, b) => (b.mean ?? 0) - (a.mean ?? 0))[0]
  const left = candidates.filter(({ excluded }) => excluded)
  return [
    ...(wish ? [asWished(wish)] : []),
    ...(wish?.why_not === null ? [] : [first]),
    ...(care?.favourite === chosen && CHOICES.has(reason) ? heldBack(care, own, rival) : []),
    ...(rival && own.mean !== null
      ? comparison(own, rival, said, CHOICES.has(reason))
      : experience(chosen, said).map(sentence)),
    ...(left.length > 0 ? [`Left out: ${left.map(({ name, excluded }) => `${name} (${excluded})`).join(', ')}.`] : []),
  ]
}

const asWished = ({ task, candidate, why_not }: Wish): string => {
  const wanted = `They stated that ${candidate} answers ${task ?? 'tasks of this kind'}`
  return why_not === null ? `${wanted}.` : `${wanted}; not this time: ${why_not}.`
}

const REASONS: Readonly<Record<string, (name: string) => string>> = {
  personal: (name) => `${name} is what this user is expected to like best, by what they said before.`,
  cold_start: (name) => `Nothing is known of this user yet: ${name} is best by what is known of the models.`,
  sticky: (name) => `The conversation stays with ${name}, which answered before.`,
  explicit: (name) => `${name} was asked for by name.`,
  explore: (name) => `${name} was drawn to learn more about it: it might be better than what is known.`,
  stated: (name) => `${name} is whom they stated for tasks of this kind.`,
  fallback: (name) => `${name} answers in place of what would have been chosen.`,
}

/** Reasons for which a candidate is preferred to others, rather than set. */
const CHOICES: ReadonlySet<string> = new Set(['personal', 'cold_start', 'explore'])

function comparison(own: Weighed, rival: Weighed, said: readonly Said[], isChoice: boolean): string[] {
  const facts = [
    ...taste(own, rival, said),
    ...experience(own.name, said),
    ...experience(rival.name, said),
    priceFact(own, rival),
    qualityFact(own, rival),
    lengthFact(own, rival),
    rewardFact(own, rival),
  ].filter((fact) => fact !== null)
  const worth = worthOf(own, rival)
  return [
    ...(facts.length > 0 ? [`${isChoice ? 'Chosen over' : 'Compared with'} ${rival.name}: ${facts.join('; ')}.`] : []),
    ...(worth.length > 0 ? [`To this user that is worth: ${worth.join(', ')} (on a scale from -1 to 1).`] : []),
  ]
}

/** Why a candidate that is expected to be better is not chosen, or that none may be. */
function heldBack({ caution, risk }: Care, own: Weighed, rival: Weighed | undefined): string[] {
  if (risk !== null && caution >= FAVOURITE_ONLY) {
    const chance = `${Math.round(100 * (1 - risk))} %`
    return [`It answers as long as it is not at least ${chance} sure that this user gains by being given others, too.`]
  }
  const gain = (rival?.mean ?? 0) - (own.mean ?? 0)
  if (!rival || rival.mean === null || own.mean === null || gain < NOTABLE) return []
  const better = `${rival.name} is expected to be better by ${gain.toFixed(2)}`
  return [`${better}, but that is within ${caution} deviations of what is not known of this user.`]
}

/** What each part adds to the expected reward, the best first. */
function worthOf({ parts }: Weighed, rival: Weighed): string[] {
  return Object.entries(parts ?? {})
    .map(([name, part]) => ({ name: PARTS[name] ?? name, gain: part - (rival.parts?.[name] ?? 0) }))
    .filter(({ gain }) => Math.abs(gain) >= NOTABLE)
    .sort((a, b) => b.gain - a.gain)
    .map(({ name, gain }) => `${name} ${gain > 0 ? '+' : ''}${gain.toFixed(2)}`)
}

const PARTS: Readonly<Record<string, string>> = {
  quality: 'quality',
  cost: 'cost',
  length: 'length of the answer',
  liking: 'liking for the model',
}

/** How they rated answers about as long as this one's, where the rival's would be much longer or shorter. */
function taste(own: Weighed, rival: Weighed, said: readonly Said[]): string[] {
  const [ours = 0, theirs = 0] = [own.completion_tokens, rival.completion_tokens]
  const isShort = ours * TIMES <= theirs
  if (ours <= 0 || theirs <= 0 || !(isShort || theirs * TIMES <= ours)) return []
  const middle = Math.sqrt(ours * theirs)
  const alike = said.filter(({ tokens }) => tokens !== null && tokens < middle === isShort)
  return ratedUp(isShort ? 'short answers' : 'long answers', alike)
}

const experience = (name: string, said: readonly Said[]) =>
  ratedUp(
    name,
    said.filter(({ candidate }) => candidate === name),
  )

function ratedUp(what: string, said: readonly Said[]): string[] {
  const own = said.filter(({ reward }) => reward !== 0)
  if (own.length === 0) return []
  const good = own.filter(({ reward }) => reward > 0).length
  return [`they rated ${what} up ${good} of ${own.length} ${own.length === 1 ? 'time' : 'times'}`]
}

function priceFact(own: Weighed, rival: Weighed): string | null {
  if (own.predicted_cost_usd <= 0 || rival.predicted_cost_usd <= 0) return null
  const times = rival.predicted_cost_usd / own.predicted_cost_usd
  if (times >= TIMES) return `${rounded(times)} × cheaper`
  return times <= 1 / TIMES ? `${rounded(1 / times)} × dearer` : 'about the same price'
}

function qualityFact({ quality: ours }: Weighed, { quality: theirs }: Weighed): string | null {
  if (ours === null || ours === undefined || theirs === null || theirs === undefined) return null
  const gap = ours - theirs
  if (Math.abs(gap) < ALIKE) return `quality within ${Math.max(0.01, Math.abs(gap)).toFixed(2)}`
  return `quality ${Math.abs(gap).toFixed(2)} ${gap > 0 ? 'higher' : 'lower'}`
}

function lengthFact({ completion_tokens: ours }: Weighed, { completion_tokens: theirs }: Weighed): string | null {
  if (ours === undefined || theirs === undefined) return null
  const times = ours / Math.max(1, theirs)
  if (times >= TIMES) return `an answer ${rounded(times)} × as long`
  return times <= 1 / TIMES ? `an answer ${rounded(1 / times)} × shorter` : null
}

/** Where nothing finer is known: of a request of the past. */
function rewardFact(own: Weighed, rival: Weighed): string | null {
  if (own.parts || own.mean === null || rival.mean === null) return null
  const gain = own.mean - rival.mean
  return `expected reward ${Math.abs(gain).toFixed(3)} ${gain >= 0 ? 'higher' : 'lower'}`
}

const sentence = (fact: string) => `${fact.charAt(0).toUpperCase()}${fact.slice(1)}.`
const rounded = (times: number) => (times < 10 ? times.toFixed(1).replace(/\.0$/, '') : String(Math.round(times)))
