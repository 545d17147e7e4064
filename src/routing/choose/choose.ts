import type { Candidate } from '../../candidates/candidate.ts'
import type { RouterConfig } from '../../config/schema.ts'
import type { Reason } from '../../store/records/records.ts'
import type { CandidateScore } from '../router.ts'
import { type Lift, liftOf } from '../safety/lift.ts'
import { type Exclusion, exclusionOf, type Limits, NoCandidateError } from './filters.ts'

export type { Exclusion, Limits } from './filters.ts'
export { NoCandidateError } from './filters.ts'

/** The candidate that answered last in this conversation. */
export interface Previous {
  candidate: string
  /** The model that called a tool must read its result. */
  toolLoop: boolean
  /** Tokens that its provider may still have in its prompt cache. */
  promptTokens: number
}

/** "This one for code." */
export interface Stated {
  /** Name of the kind of task. */
  task: string
  candidate: string
}

/** What would answer without a router, and how far the router is let in its place. */
export interface BaselineRule {
  /** Name of the candidate. */
  candidate: string
  /** Share of requests in which the router chooses; the baseline answers the others. */
  routed: number
  /** Why the baseline answers, for the header. */
  why: 'baseline' | 'holdout'
}

export interface ChooseInput {
  /** Of every candidate that the model name stands for, in the configuration's order. */
  scores: readonly CandidateScore[]
  /** `graph`: means are expected rewards; `fallback`: they are ranks, so nothing is weighed or explored. */
  by: 'graph' | 'fallback'
  limits: Limits
  /** The client named this candidate: no filter, no choice. */
  explicit: string | null
  /** Whom the user wants to answer tasks of this kind, as far as the limits allow it; null: nobody. */
  stated: Stated | null
  /** Rewards of the user so far. */
  rewards: number
  explore: boolean
  previous: Previous | null
  /** Null: the router chooses always. */
  baseline: BaselineRule | null
  policy: Pick<RouterConfig, 'gamma' | 'sticky'> & Partial<Pick<RouterConfig, 'caution'>>
  /** 0 <= random < 1. */
  random: number
}

export interface Selection {
  chosen: CandidateScore
  reason: Reason
  /** Why, in a few words, for the header; empty where the reason says it all. */
  detail: string
  /** The chosen candidate first, then the fallbacks in order. */
  ranking: readonly Candidate[]
  /** All that passed the filters, in the order given. */
  scored: readonly CandidateScore[]
  /** Probability with which each of `scored` was to be chosen, given everything but `random`; they sum to 1. */
  propensities: readonly number[]
  /** What a rating of this answer tells of the router's gain over the baseline; null where it tells nothing. */
  lift: Lift | null
  excluded: readonly Exclusion[]
}

/**
 * Selects the candidate that answers. Pure: the same input gives the same selection, and `propensities` are exact.
 *
 * @throws NoCandidateError when the filters leave none
 */
export function choose(input: ChooseInput): Selection {
  const { scores, explicit, previous, policy } = input
  if (explicit !== null) return obey(scores, explicit)

  const excluded: Exclusion[] = []
  const left = scores.filter((score) => {
    const exclusion = exclusionOf(score, input.limits)
    if (exclusion) excluded.push(exclusion)
    return exclusion === null
  })
  if (left.length === 0) throw new NoCandidateError(excluded)

  const stay = left.findIndex(({ candidate }) => candidate.name === previous?.candidate)
  const held = stay >= 0 && (policy.sticky.enabled || previous?.toolLoop === true)
  const usual = left.findIndex(({ candidate }) => candidate.name === input.baseline?.candidate)
  // Where the baseline can't answer, the router stands in for it.
  const routed = usual < 0 ? 1 : (input.baseline?.routed ?? 1)
  // Should one fail whom the router did not choose, it is not the router that is let in by that.
  const next = routed < 1 ? usual : -1
  if (held && previous?.toolLoop) return settle(left, means(left), stay, stay, 'sticky', 'tool_loop', excluded, next)
  const stated = left.findIndex(({ candidate }) => candidate.name === input.stated?.candidate)
  if (stated >= 0) return settle(left, means(left), stated, stated, 'stated', input.stated?.task ?? '', excluded, next)
  if (routed < 1 && (routed === 0 || input.by === 'fallback' || !input.explore)) {
    return settle(left, means(left), usual, usual, 'fallback', input.baseline?.why ?? '', excluded)
  }
  if (input.by === 'fallback') {
    const best = held ? stay : indexOfBest(means(left))
    return settle(left, means(left), best, best, held ? 'sticky' : 'fallback', '', excluded)
  }
  const personal = input.rewards > 0 ? 'personal' : 'cold_start'
  if (held && routed < 1) return settle(left, means(left), stay, stay, 'sticky', '', excluded)
  if (held && previous) {
    const worth = afterSwitch(left, stay, previous, policy)
    const best = indexOfBest(worth)
    return settle(
      left,
      worth,
      best,
      best,
      best === stay ? 'sticky' : personal,
      best === stay ? '' : 'switched',
      excluded,
    )
  }
  const caution = policy.caution ?? 0
  const worth = cautious(left, caution)
  const best = indexOfBest(worth)
  // A tool's result that its own model can't read any more is no time to try things out.
  const explore = input.explore && previous?.toolLoop !== true
  const tried = caution > MOST_DOUBT ? heldBack(left, best) : worth
  const wanted = explore ? inverseGap(left, tried, best, greed(input.rewards, policy.gamma)) : sure(left, best)
  const propensities = routed === 1 ? wanted : wanted.map((p, i) => routed * p + (i === usual ? 1 - routed : 0))
  const toBaseline = input.random < 1 - routed
  const drawn = toBaseline ? usual : draw(wanted, 1 - (1 - input.random) / routed)
  const reason = toBaseline ? 'fallback' : drawn === best ? personal : 'explore'
  const detail = toBaseline ? 'baseline' : ''
  const lift = input.baseline ? liftOf(propensities, wanted, drawn, usual) : null
  return { ...settle(left, worth, best, drawn, reason, detail, excluded), propensities, lift }
}

function obey(scores: readonly CandidateScore[], name: string): Selection {
  const index = scores.findIndex(({ candidate }) => candidate.name === name)
  if (index < 0) throw new NoCandidateError([])
  const one = [scores[index] as CandidateScore]
  return settle(one, means(one), 0, 0, 'explicit', '', [])
}

/** @param next tried after the chosen one; -1: the best of the others is */
function settle(
  scored: readonly CandidateScore[],
  worth: readonly number[],
  best: number,
  chosen: number,
  reason: Reason,
  detail: string,
  excluded: readonly Exclusion[],
  next = -1,
): Selection {
  const first = scored[chosen] as CandidateScore
  const ranking = [first.candidate]
  const rank = (index: number) => (index === next ? Number.POSITIVE_INFINITY : (worth[index] as number))
  const order = scored.map((_, index) => index).sort((a, b) => rank(b) - rank(a) || a - b)
  for (const i of order) if (i !== chosen) ranking.push((scored[i] as CandidateScore).candidate)
  return {
    chosen: first,
    reason,
    detail,
    ranking,
    scored,
    propensities: sure(scored, best),
    lift: null,
    excluded,
  }
}

/** Means, less a doubt about how they compare with the baseline or favourite, which itself has none. */
const cautious = (scores: readonly CandidateScore[], caution: number) =>
  caution > 0 ? scores.map(({ mean, apart }) => mean - caution * (apart ?? 0)) : means(scores)
const means = (scores: readonly CandidateScore[]) => scores.map(({ mean }) => mean)
const sure = (scores: readonly CandidateScore[], index: number) => scores.map((_, i) => (i === index ? 1 : 0))

/** The first of the largest. */
function indexOfBest(worth: readonly number[]): number {
  let best = 0
  for (let i = 1; i < worth.length; i++) if ((worth[i] as number) > (worth[best] as number)) best = i
  return best
}

/**
 * Where a doubt weighs no more than a deviation, whatever the caution. In a conversation: "never leave the favourite"
 * (`safe-caution.ts`) is no reason to leave whom one already talks to, whatever that costs. And where things are tried
 * out: see `heldBack`.
 */
const MOST_DOUBT = 1

/**
 * Gain of each candidate over the conversation's current one: less the price of a cold prompt cache, and less a margin,
 * because a change of voice is a cost of its own.
 */
function afterSwitch(
  scores: readonly CandidateScore[],
  stay: number,
  previous: Previous,
  { sticky, caution = 0 }: ChooseInput['policy'],
): number[] {
  const worth = cautious(scores, Math.min(caution, MOST_DOUBT))
  const old = (scores[stay] as CandidateScore).candidate.price
  const lost = Math.max(0, old.input - (old.cachedInput ?? old.input))
  return scores.map(({ candidate: { price } }, i) => {
    if (i === stay) return worth[i] as number
    const written = Math.max(0, (price.cacheWrite ?? price.input) - price.input)
    const usd = (previous.promptTokens * (lost + written)) / 1e6
    return (worth[i] as number) - sticky.min_gain - sticky.reward_per_usd * usd
  })
}

/**
 * What those who are doubted without end are worth for trying out: no more than the best, less one deviation. Less, and
 * nothing would ever be learned of what the user likes; more, and they would be given what they are kept from.
 */
function heldBack(scores: readonly CandidateScore[], best: number): number[] {
  const top = (scores[best] as CandidateScore).mean
  return scores.map(({ mean, apart }, i) => (i === best ? top : Math.min(mean, top) - MOST_DOUBT * (apart ?? 0)))
}

/** Greed per candidate; grows with the user's rewards, as exploring pays for users of whom little is known. */
const greed = (rewards: number, { base, per_reward }: RouterConfig['gamma']) => base + per_reward * rewards

/**
 * Inverse gap weighting (SquareCB, Foster & Rakhlin 2020): p = 1 / (K + gamma x gap), the rest goes to the best. Gamma
 * is K times `perArm`, so that the expected loss of a request is below 1 / `perArm` however many candidates there are.
 */
function inverseGap(
  scores: readonly CandidateScore[],
  worth: readonly number[],
  best: number,
  perArm: number,
): number[] {
  const isOther = (i: number) => i !== best && (scores[i] as CandidateScore).candidate.explore
  let arms = 1
  for (let i = 0; i < scores.length; i++) if (isOther(i)) arms++
  const top = worth[best] as number
  let others = 0
  const propensities = worth.map((value, i) => {
    const propensity = isOther(i) ? 1 / (arms * (1 + perArm * (top - value))) : 0
    others += propensity
    return propensity
  })
  propensities[best] = 1 - others
  return propensities
}

/** The first index at which the cumulated probability exceeds `random`. */
function draw(propensities: readonly number[], random: number): number {
  let sum = 0
  for (const [i, p] of propensities.entries()) {
    sum += p
    if (random < sum) return i
  }
  return propensities.findLastIndex((p) => p > 0)
}
