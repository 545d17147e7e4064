import type { Candidate } from '../../candidates/candidate.ts'
import type { UnsupportedRequest } from '../../errors.ts'
import type { Refusal } from '../dialect/refusal.ts'
import type { Forwarded } from '../relay/answer.ts'
import { Attempts, type ForwardDeps, type ForwardInput } from './attempts.ts'
import {
  abortedError,
  allOpen,
  asForwardError,
  classifyFailure,
  exhausted,
  type Failure,
  isOurFault,
  OUT_OF_TIME,
  tooManyTokens,
} from './failure.ts'

export type { Forwarded } from '../relay/answer.ts'

/**
 * Tries candidates in order until one answers: the Upstream table of the fault matrix. Nothing has been sent to the
 * client before this resolves, so every failure until then may be tried again elsewhere.
 *
 * @throws ForwardError with the attempts made
 */
export async function forward(input: ForwardInput, deps: ForwardDeps): Promise<Forwarded> {
  const attempts = new Attempts(input, deps)
  try {
    return await firstOf(input, deps, attempts)
  } finally {
    await attempts.saidNothing.end()
  }
}

async function firstOf(input: ForwardInput, deps: ForwardDeps, attempts: Attempts): Promise<Forwarded> {
  const { ranking, signal } = input
  const { breakers, retries } = deps
  const refusedBy: string[] = []
  const refusals: Refused[] = []
  let last: Failure | null = null
  let unsupported: UnsupportedRequest | null = null
  let soonestMs = Number.POSITIVE_INFINITY
  // What the gateway itself has put into the request is not the client's mistake.
  const adapts = input.routed || input.request.format !== undefined
  const isOut = (one: Candidate) => refusedBy.includes(one.provider) || attempts.saidNothing.has(one)
  const isUsable = (other: Candidate) => !isOut(other) && !breakers.of(other).isOpen
  const mayGoOn = () =>
    attempts.failures < retries.max_attempts &&
    attempts.refused < retries.max_refusals &&
    performance.now() < input.deadline

  for (const [index, candidate] of ranking.entries()) {
    if (isOut(candidate)) continue
    const breaker = breakers.of(candidate)
    const nextUsable = () => ranking.find((other, i) => i > index && isUsable(other))
    for (let tries = 1; mayGoOn(); tries++) {
      if (breaker.isOpen) {
        soonestMs = Math.min(soonestMs, breaker.remainingMs)
        break
      }
      const result = await attempts.ask(candidate, nextUsable)
      if ('answer' in result) return remember(result.answer, refusals, input, deps)
      if ('isNothing' in result) break
      if ('unsupported' in result) {
        unsupported ??= result.unsupported
        break
      }
      const { failure, refusal } = result
      if (attempts.canBeReadable(candidate, failure) || attempts.canBeShorter(candidate, refusal)) continue
      if (refusal && failure.kind === 'status') {
        const refused = { candidate, failure, refusal }
        // The client never sent it: the same candidate is asked without.
        if (refusal.added && !attempts.learnedOf(candidate)?.has(refusal.added)) {
          refusals.push(refused)
          attempts.learn(candidate, refusal.refused)
          continue
        }
        if (!adapts) {
          if (refusal.about === 'content') return tell(attempts, refused)
        } else {
          refusals.push(refused)
          break
        }
      }
      last = failure
      if (failure.kind === 'status' && isOurFault(failure.status)) refusedBy.push(candidate.provider)
      const situation = { tries, hasNext: nextUsable() !== undefined, maxRetryAfterMs: retries.max_retry_after_ms }
      const verdict = classifyFailure(failure, situation)
      if (verdict === 'pass' && failure.kind === 'status') return attempts.passError(candidate, failure)
      if (verdict === 'next' || attempts.failures >= retries.max_attempts) break
      await attempts.wait(failure, tries)
    }
  }
  const nothing = signal.aborted ? null : attempts.bringBack()
  if (nothing) return remember(nothing, refusals, input, deps)
  // Nobody takes it as it is: those are asked again who can do without what they refused.
  for (const { candidate, refusal } of refusals.slice(0, MAX_SECOND_ROUND)) {
    if (!adapts || last || !mayGoOn() || !isUsable(candidate)) break
    for (let latest = refusal; mayGoOn() && attempts.canDoWithout(candidate, latest); ) {
      attempts.learn(candidate, latest.refused)
      const result = await attempts.ask(candidate, () => undefined)
      const answer = 'answer' in result ? result.answer : attempts.bringBack()
      if (answer) return remember(answer, refusals, input, deps)
      if (!('failure' in result) || result.failure.kind !== 'status' || !result.refusal) break
      latest = result.refusal
      refusals.push({ candidate, failure: result.failure, refusal: result.refusal })
    }
  }
  if (signal.aborted) throw attempts.failed(abortedError(signal))
  if (performance.now() >= input.deadline) throw attempts.failed(exhausted(OUT_OF_TIME))
  if (last) throw attempts.failed(exhausted(last))
  const [first] = refusals
  if (first) return tell(attempts, first)
  throw attempts.failed(unsupported ? asForwardError(unsupported) : allOpen(Number.isFinite(soonestMs) ? soonestMs : 0))
}

const MAX_SECOND_ROUND = 4

interface Refused {
  candidate: Candidate
  failure: Failure & { kind: 'status' }
  refusal: Refusal
}

/** What the client hears where nobody takes its request: the first refusal. */
function tell(attempts: Attempts, { candidate, failure }: Refused): Promise<Forwarded> {
  if (failure.status === 402) throw attempts.failed(tooManyTokens())
  return attempts.passError(candidate, failure)
}

/** It was answered after all, so that what was refused is the candidates' own: the next request is spared it. */
function remember(
  answer: Forwarded,
  refusals: Refused[],
  { tenant = '', voice }: ForwardInput,
  deps: ForwardDeps,
): Forwarded {
  for (const { candidate, refusal } of refusals) {
    if (refusal.about !== 'model') deps.refusals?.note(tenant, candidate, refusal.refused, voice)
  }
  return answer
}
