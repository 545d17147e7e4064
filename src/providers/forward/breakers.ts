import type { Candidate } from '../../candidates/candidate.ts'
import type { RetriesConfig } from '../../config/schema.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a breaker sees of one try. */
export interface Health {
  /**
   * `failed`: the deployment failed, and a request's content may have been what made it; `gone`: it failed whatever was
   * asked; `unknown`: it answered, and that says nothing (a refusal of this request).
   */
  health: 'well' | 'failed' | 'gone' | 'unknown'
}

/** Asks a deployment something harmless: whether it answers. */
export type Probe = (deployment: string) => Promise<boolean>

/**
 * One breaker a deployment: a provider's model. Several candidates may share one. Each process has its own: what one
 * can't reach, another may (docs/profile.md).
 */
export class Breakers {
  readonly #config: RetriesConfig['breaker']
  readonly #breakers = new Map<string, Breaker>()
  /** Of all that may answer each request asks: without putting their names together. */
  readonly #ofCandidates = new WeakMap<Candidate, Breaker>()
  readonly #onChange: ((deployment: string, state: BreakerState) => void) | undefined
  readonly #probe: Probe | undefined

  /** @param probe decides where all failures are one asker's: what they asked for may be to blame */
  constructor(
    config: RetriesConfig['breaker'],
    onChange?: (deployment: string, state: BreakerState) => void,
    probe?: Probe,
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#probe = probe
  }

  of(candidate: Candidate): Breaker {
    let breaker = this.#ofCandidates.get(candidate)
    if (!breaker) {
      breaker = this.#named(deploymentOf(candidate))
      this.#ofCandidates.set(candidate, breaker)
    }
    return breaker
  }

  #named(deployment: string): Breaker {
    let breaker = this.#breakers.get(deployment)
    if (!breaker) {
      breaker = new Breaker(
        this.#config,
        (state) => this.#onChange?.(deployment, state),
        this.#probe && (() => this.#probe?.(deployment) ?? Promise.resolve(true)),
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

/** Asks in its own name what users wrote: its failures are nobody's more. */
export const THE_GATEWAY = ' '

export const deploymentOf = ({ provider, model }: Candidate) => `${provider}/${model}`

/**
 * Opens after so many failures in a row, for so long; then one try probes, and while it is out others are turned away
 * and go to the next candidate. One asker's failures alone open nothing, and keep nothing open, since what they ask for
 * may be what fails: a question of the gateway's own decides then. Times are of a monotonic clock: the wall clock may
 * jump.
 */
export class Breaker {
  readonly #config: RetriesConfig['breaker']
  readonly #onChange: (state: BreakerState) => void
  /** `half-open` while a probe is out. */
  #state: BreakerState = 'closed'
  #failures = 0
  /** How many of them no request's content can have brought about, and who saw the others. */
  #gone = 0
  readonly #askers = new Set<string>()
  readonly #ask: (() => Promise<boolean>) | undefined
  #isAsking = false
  #openUntil = Number.NEGATIVE_INFINITY
  /** Changes so far: a try that began before the last one ends unheard. */
  #changes = 0

  constructor(config: RetriesConfig['breaker'], onChange: (state: BreakerState) => void, ask?: () => Promise<boolean>) {
    this.#config = config
    this.#onChange = onChange
    this.#ask = ask
  }

  get state(): BreakerState {
    return this.#state === 'open' && this.remainingMs === 0 ? 'half-open' : this.#state
  }

  /** Whether a request would be turned away now. */
  get isOpen(): boolean {
    return this.#state === 'half-open' || (this.#state === 'open' && this.remainingMs > 0)
  }

  /** Milliseconds until it is worth asking again. */
  get remainingMs(): number {
    return Math.max(0, this.#openUntil - performance.now())
  }

  /**
   * Runs one try. A throw counts neither way (the client left). Call only while `isOpen` is false.
   *
   * @param asker whose request it is; who is not known counts as somebody else each time
   */
  async run<T extends Health>(attempt: () => Promise<T>, asker?: string): Promise<T> {
    if (this.#state === 'open') this.#become('half-open')
    const changes = this.#changes
    try {
      const outcome = await attempt()
      if (changes === this.#changes) this.#count(outcome.health, asker)
      return outcome
    } catch (error) {
      // A probe that says nothing: the next try is one, too.
      if (changes === this.#changes && this.#state === 'half-open') this.#state = 'open'
      throw error
    }
  }

  #count(health: Health['health'], asker: string | undefined): void {
    const isProbe = this.#state === 'half-open'
    if (health === 'well' || (health === 'unknown' && isProbe)) {
      this.#forget()
      if (isProbe) this.#become('closed')
    } else if (health !== 'unknown') {
      this.#failures++
      if (health === 'gone') this.#gone++
      if (asker !== THE_GATEWAY) this.#askers.add(asker ?? `\0${this.#failures}`)
      // Until the answer comes others are turned away, as by any probe.
      if (isProbe && health !== 'gone' && this.#ask) void this.#suspect(this.#ask)
      else if (isProbe || this.#isProven()) this.#open()
    }
  }

  #isProven(): boolean {
    const { failures } = this.#config
    if (this.#failures < failures) return false
    if (this.#askers.size > 1 || this.#gone >= failures || !this.#ask) return true
    void this.#suspect(this.#ask)
    return false
  }

  /** Whether it fails whoever asks. */
  async #suspect(ask: () => Promise<boolean>): Promise<void> {
    if (this.#isAsking) {
      // A question from before it opened: the answer goes unheard, and nothing else ends a half-open one.
      if (this.#state === 'half-open') this.#open()
      return
    }
    this.#isAsking = true
    const changes = this.#changes
    const isWell = await ask().catch(() => false)
    this.#isAsking = false
    if (changes !== this.#changes || this.#failures === 0) return
    if (!isWell) {
      this.#open()
      return
    }
    this.#forget()
    if (this.#state === 'half-open') this.#become('closed')
  }

  #open(): void {
    this.#openUntil = performance.now() + this.#config.open_ms
    this.#become('open')
  }

  #forget(): void {
    this.#failures = 0
    this.#gone = 0
    this.#askers.clear()
  }

  #become(state: BreakerState): void {
    this.#state = state
    this.#changes++
    this.#onChange(state)
  }
}
