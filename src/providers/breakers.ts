import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
} from 'cockatiel'
import type { Candidate } from '../candidate.ts'
import type { RetriesConfig } from '../config.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a breaker sees of one try. */
export interface Outcome {
  /** The deployment is at fault; false for answers, the client's own mistakes included. */
  deploymentFailed: boolean
}

/** One breaker a deployment: a provider's model. Several candidates may share one. */
export class Breakers {
  readonly #config: RetriesConfig['breaker']
  readonly #breakers = new Map<string, Breaker>()
  readonly #onChange: ((deployment: string, state: BreakerState) => void) | undefined
  readonly #onBreak: ((deployment: string, ms: number) => void) | undefined

  /** @param onBreak a breaker opened by what this process saw, for so long: not when another's was taken over */
  constructor(
    config: RetriesConfig['breaker'],
    onChange?: (deployment: string, state: BreakerState) => void,
    onBreak?: (deployment: string, ms: number) => void,
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#onBreak = onBreak
  }

  of(candidate: Candidate): Breaker {
    return this.#named(deploymentOf(candidate))
  }

  /** Turns requests away for `ms`, or as long as a breaker is open here: how another replica's open breaker is taken over. */
  holdOpen(deployment: string, ms: number): void {
    this.#named(deployment).holdOpen(Math.min(ms, this.#config.open_ms))
  }

  #named(deployment: string): Breaker {
    let breaker = this.#breakers.get(deployment)
    if (!breaker) {
      breaker = new Breaker(
        this.#config,
        (state) => this.#onChange?.(deployment, state),
        (ms) => this.#onBreak?.(deployment, ms),
      )
      this.#breakers.set(deployment, breaker)
    }
    return breaker
  }

  /** For metrics and `/readyz`; deployments that were never tried are absent. */
  states(): Map<string, BreakerState> {
    return new Map([...this.#breakers].map(([name, breaker]) => [name, breaker.state]))
  }
}

export const deploymentOf = ({ provider, model }: Candidate) => `${provider}/${model}`

/**
 * cockatiel's consecutive breaker, on a monotonic clock (its own reads the wall clock, and a jump back would keep it open for as long), and without
 * a queue: while the one probe of a half-open breaker is out, others are turned away and go to the next candidate.
 */
export class Breaker {
  readonly #config: RetriesConfig['breaker']
  readonly #onChange: (state: BreakerState) => void
  readonly #onBreak: (ms: number) => void
  #policy: CircuitBreakerPolicy
  #openUntil = Number.NEGATIVE_INFINITY
  #heldUntil = Number.NEGATIVE_INFINITY

  constructor(
    config: RetriesConfig['breaker'],
    onChange: (state: BreakerState) => void,
    onBreak: (ms: number) => void = () => {},
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#onBreak = onBreak
    this.#policy = this.#createPolicy()
  }

  get state(): BreakerState {
    if (performance.now() < this.#heldUntil) return 'open'
    switch (this.#policy.state) {
      case CircuitState.Closed:
        return 'closed'
      case CircuitState.HalfOpen:
        return 'half-open'
      default:
        return performance.now() < this.#openUntil ? 'open' : 'half-open'
    }
  }

  /** Whether a request would be turned away now. */
  get isOpen(): boolean {
    const now = performance.now()
    if (now < this.#heldUntil) return true
    const { state } = this.#policy
    return state === CircuitState.HalfOpen || (state === CircuitState.Open && now < this.#openUntil)
  }

  /** Milliseconds until it is worth asking again. */
  get remainingMs(): number {
    return Math.max(0, Math.max(this.#openUntil, this.#heldUntil) - performance.now())
  }

  holdOpen(ms: number): void {
    this.#heldUntil = performance.now() + ms
    this.#onChange('open')
  }

  /** Runs one try. A throw counts neither way (the client left). Call only while `isOpen` is false. */
  run<T extends Outcome>(attempt: () => Promise<T>): Promise<T> {
    if (this.#policy.state === CircuitState.Open) this.#policy = this.#createPolicy(due(this.#config.failures))
    return this.#policy.execute(attempt)
  }

  #createPolicy(initialState?: unknown): CircuitBreakerPolicy {
    const policy = circuitBreaker(
      handleWhenResult((result) => (result as Outcome).deploymentFailed),
      {
        halfOpenAfter: this.#config.open_ms,
        breaker: new ConsecutiveBreaker(this.#config.failures),
        ...(initialState !== undefined && { initialState }),
      },
    )
    policy.onBreak(() => {
      this.#openUntil = performance.now() + this.#config.open_ms
      this.#onChange('open')
      this.#onBreak(this.#config.open_ms)
    })
    policy.onHalfOpen(() => this.#onChange('half-open'))
    policy.onReset(() => this.#onChange('closed'))
    return policy
  }
}

/** As `CircuitBreakerPolicy.toJSON` tells of a breaker that may probe: open since the epoch, and one more failure opens it again. */
const due = (failures: number) => ({
  ownState: { value: CircuitState.Open, openedAt: 0, attemptNo: 1 },
  breakerState: failures - 1,
})
