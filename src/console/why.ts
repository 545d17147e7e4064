/** What a candidate is expected to be worth to a user, as far as words need it. */
export interface Weighed {
  name: string
  mean: number | null
  /** Parts of the expected reward, which sum to it: quality, cost, length, liking. */
  parts: Readonly<Record<string, number>> | null
  quality: number | null
  predicted_cost_usd: number
  completion_tokens: number
  excluded: string | null
}

/** One thing that a user said of an answer. */
export interface Said {
  candidate: string
  /** -1 to 1. */
  reward: number
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
 */
export function whyInWords(
  chosen: string,
  reason: string,
  candidates: readonly Weighed[],
  said: readonly Said[],
): string[] {
  const own = candidates.find(({ name }) => name === chosen)
  if (!own) return []
  const first = REASONS[reason]?.(chosen) ?? `${chosen} is chosen (${reason}).`
  const rival = candidates.find(({ name, excluded, mean }) => name !== chosen && excluded === null && mean !== null)
  const sentences = [first, ...(rival && own.mean !== null ? comparison(own, rival) : []), ...experience(chosen, said)]
  const left = candidates.filter(({ excluded }) => excluded !== null)
  if (left.length > 0)
    sentences.push(`Left out: ${left.map(({ name, excluded }) => `${name} (${excluded})`).join(', ')}.`)
  return sentences
}

const REASONS: Readonly<Record<string, (name: string) => string>> = {
  personal: (name) => `${name} is what this user is expected to like best, by what they said before.`,
  cold_start: (name) => `Nothing is known of this user yet: ${name} is best by what is known of the models.`,
  sticky: (name) => `The conversation stays with ${name}, which answered before.`,
  explicit: (name) => `${name} was asked for by name.`,
  explore: (name) => `${name} was drawn to learn more about it: it might be better than what is known.`,
  fallback: (name) => `${name} answers in place of the router's choice.`,
}

function comparison(own: Weighed, rival: Weighed): string[] {
  const parts = Object.entries(own.parts ?? {})
    .map(([name, part]) => ({ name, gain: part - (rival.parts?.[name] ?? 0) }))
    .filter(({ gain }) => Math.abs(gain) >= NOTABLE)
    .sort((a, b) => b.gain - a.gain)
  const gains = parts
    .filter(({ gain }) => gain > 0)
    .map(({ name, gain }) => `${PARTS[name] ?? name} +${gain.toFixed(2)}`)
  const losses = parts
    .filter(({ gain }) => gain < 0)
    .map(({ name, gain }) => `${PARTS[name] ?? name} ${gain.toFixed(2)}`)
  const facts = [priceFact(own, rival), qualityFact(own, rival), lengthFact(own, rival)].filter((fact) => fact !== null)
  return [
    ...(facts.length > 0 ? [`Compared with ${rival.name}: ${facts.join('; ')}.`] : []),
    ...(gains.length + losses.length > 0
      ? [`To this user that is worth: ${[...gains, ...losses].join(', ')} (on a scale from -1 to 1).`]
      : []),
  ]
}

const PARTS: Readonly<Record<string, string>> = {
  quality: 'quality',
  cost: 'cost',
  length: 'length of the answer',
  liking: 'liking for the model',
}

function priceFact(own: Weighed, rival: Weighed): string | null {
  if (own.predicted_cost_usd <= 0 || rival.predicted_cost_usd <= 0) return null
  const times = rival.predicted_cost_usd / own.predicted_cost_usd
  if (times >= TIMES) return `${rounded(times)} × cheaper`
  return times <= 1 / TIMES ? `${rounded(1 / times)} × dearer` : 'about the same price'
}

function qualityFact(own: Weighed, rival: Weighed): string | null {
  if (own.quality === null || rival.quality === null) return null
  const gap = own.quality - rival.quality
  if (Math.abs(gap) < ALIKE) return `quality within ${Math.max(0.01, Math.abs(gap)).toFixed(2)}`
  return `quality ${Math.abs(gap).toFixed(2)} ${gap > 0 ? 'higher' : 'lower'}`
}

function lengthFact(own: Weighed, rival: Weighed): string | null {
  const times = own.completion_tokens / Math.max(1, rival.completion_tokens)
  if (times >= TIMES) return `an answer ${rounded(times)} × as long`
  return times <= 1 / TIMES ? `an answer ${rounded(1 / times)} × shorter` : null
}

function experience(chosen: string, said: readonly Said[]): string[] {
  const own = said.filter(({ candidate, reward }) => candidate === chosen && reward !== 0)
  if (own.length === 0) return []
  const good = own.filter(({ reward }) => reward > 0).length
  return [`They rated ${chosen} up ${good} of ${own.length} ${own.length === 1 ? 'time' : 'times'}.`]
}

const rounded = (times: number) => (times < 10 ? times.toFixed(1).replace(/\.0$/, '') : String(Math.round(times)))
