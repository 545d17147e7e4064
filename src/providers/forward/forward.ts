import type { Candidate } from '../../candidates/candidate.ts'
import type { UnsupportedRequest } from '../../errors.ts'
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
} from './failure.ts'

export type { Forwarded } from '../relay/answer.ts'

/**
 * Tries candidates in order until one answers: the Upstream table of the fault matrix. Nothing has been sent to the
 * client before this resolves, so every failure until then may be tried again elsewhere.
 *
 * @throws ForwardError with the attempts made
 */
export async function forward(input: ForwardInput, deps: ForwardDeps): Promise<Forwarded> {
  const { ranking, signal } = input
  const { breakers, retries } = deps
  const attempts = new Attempts(input, deps)
  const refusedBy: string[] = []
  let last: Failure | null = null
  let unsupported: UnsupportedRequest | null = null
  let soonestMs = Number.POSITIVE_INFINITY
  const isUsable = (other: Candidate) => !refusedBy.includes(other.provider) && !breakers.of(other).isOpen

  for (const [index, candidate] of ranking.entries()) {
    if (refusedBy.includes(candidate.provider)) continue
    const breaker = breakers.of(candidate)
    const nextUsable = () => ranking.find((other, i) => i > index && isUsable(other))
    for (let tries = 1; attempts.made.length < retries.max_attempts && performance.now() < input.deadline; tries++) {
      if (breaker.isOpen) {
        soonestMs = Math.min(soonestMs, breaker.remainingMs)
        break
      }
      const result = await attempts.ask(candidate, nextUsable)
      if ('answer' in result) return result.answer
      if ('unsupported' in result) {
        unsupported ??= result.unsupported
        break
      }
      const { failure } = result
      last = failure
      if (failure.kind === 'status' && isOurFault(failure.status)) refusedBy.push(candidate.provider)
      const situation = { tries, hasNext: nextUsable() !== undefined, maxRetryAfterMs: retries.max_retry_after_ms }
      const verdict = classifyFailure(failure, situation)
      if (verdict === 'pass' && failure.kind === 'status') return attempts.passError(candidate, failure)
      if (verdict === 'next' || attempts.made.length >= retries.max_attempts) break
      await attempts.wait(failure, tries)
    }
  }
  if (signal.aborted) throw attempts.failed(abortedError(signal))
  if (performance.now() >= input.deadline) throw attempts.failed(exhausted(OUT_OF_TIME))
  if (last) throw attempts.failed(exhausted(last))
  throw attempts.failed(unsupported ? asForwardError(unsupported) : allOpen(Number.isFinite(soonestMs) ? soonestMs : 0))
}
