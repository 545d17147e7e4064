import type { Logger } from '../observability/logger.ts'
import type { Policies } from '../routing/policies/policies.ts'
import { quantise } from '../runtime/quantise.ts'
import type { ClearVector, Reading, Store } from '../store/store.ts'
import { queriesOf } from './belief.ts'

const FIRST_MS = 30_000
const AGAIN_MS = 3_600_000

export interface VectorScrubOptions {
  store: Pick<Store, 'scrubVectors'>
  policies: Pick<Policies, 'snapshot'>
  log: Logger
  firstMs?: number
}

/**
 * Query vectors that earlier versions of this program kept in clear: what the tenant's artifact reads in them takes
 * their place. In the background, again until there are none: replicas may still run the version before.
 */
export class VectorScrub {
  readonly #options: VectorScrubOptions
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: VectorScrubOptions) {
    this.#options = options
    this.#in(options.firstMs ?? FIRST_MS)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** @returns how many there were. @throws StoreError */
  run(): Promise<number> {
    return this.#options.store.scrubVectors((vectors) => this.#read(vectors))
  }

  async #read(vectors: readonly ClearVector[]): Promise<(Reading | null)[]> {
    const readings: (Reading | null)[] = vectors.map(() => null)
    const rows = vectors.map((row, index) => ({ ...row, index }))
    for (const [tenant, some] of Map.groupBy(rows, (row) => row.tenant)) {
      const { policy } = this.#options.policies.snapshot(tenant, '')
      const { reader } = policy?.router.artifact.manifest ?? {}
      if (!policy || !reader) continue
      const queries = await queriesOf(
        policy,
        some.map(({ vector }) => ({ reading: null, reader: '', vector })),
      )
      for (const [i, { index }] of some.entries()) {
        const reading = quantise(queries[i] ?? null)
        if (reading) readings[index] = { reading, reader }
      }
    }
    return readings
  }

  #in(ms: number): void {
    this.#timer = setTimeout(() => {
      this.run()
        .then((vectors) => {
          if (vectors === 0) return
          this.#options.log.info({ vectors }, 'query vectors of an earlier version are taken out of the store')
          if (!this.#closed) this.#in(AGAIN_MS)
        })
        .catch((err) => {
          this.#options.log.warn({ err }, 'query vectors of an earlier version are taken out later')
          if (!this.#closed) this.#in(AGAIN_MS)
        })
    }, ms).unref()
  }
}
