import type { Candidate } from '../../candidates/candidate.ts'
import type { Tensor } from '../../runtime/onnxruntime.ts'
import { type CandidateScore, type RouteQuery, RouterError } from '../router.ts'

/** The outputs of one run of `score.onnx`, read row by row. */
export class BatchScores {
  readonly mean: Float32Array
  readonly std: Float32Array
  readonly quality: Float32Array
  readonly tokens: Float32Array
  readonly parts: Float32Array
  readonly apart: Float32Array | null
  readonly #readings: Float32Array | null
  readonly #rows: number
  readonly partNames: readonly string[]
  readonly #candidates: readonly Candidate[]

  constructor(
    outputs: Readonly<Record<string, Tensor>>,
    candidates: readonly Candidate[],
    partNames: readonly string[],
  ) {
    const data = (name: string) => outputs[name]!.data as Float32Array
    this.mean = data('mean')
    this.std = data('std')
    this.quality = data('quality')
    this.tokens = data('completion_tokens')
    this.parts = data('parts')
    this.apart = outputs.apart ? data('apart') : null
    this.#readings = outputs.reading ? data('reading') : null
    this.#rows = outputs.mean!.dims[0]!
    this.partNames = partNames
    this.#candidates = candidates
  }

  /** What was read in the query of a row. */
  reading(row: number): Float32Array | null {
    const width = this.#readings && this.#readings.length / this.#rows
    return width === null ? null : (this.#readings?.slice(row * width, (row + 1) * width) ?? null)
  }

  /**
   * @throws RouterError `not_finite`; `all_equal` where several candidates can't be told apart though the user's taste
   * was asked
   */
  row(row: number, { promptTokens, costWeight }: RouteQuery): CandidateScore[] {
    const m = this.#candidates.length
    const first = row * m
    const scores = new Array<CandidateScore>(m)
    let equal = true
    for (let i = 0, at = first; i < m; i++, at++) {
      // A sum is finite only if each of them is.
      if (!Number.isFinite(this.mean[at]! + this.std[at]! + this.quality[at]! + this.tokens[at]!)) {
        throw new RouterError('not_finite', 'A score is not a finite number.')
      }
      scores[i] = new Score(this.#candidates[i]!, promptTokens, this, at, row, costWeight === undefined)
      equal &&= this.mean[at] === this.mean[first]
    }
    // With a given weight, free models may well be equal.
    if (equal && m > 1 && costWeight === undefined) {
      throw new RouterError('all_equal', 'All candidates have the same score.')
    }
    return scores
  }
}

/** A view of one entry: a request makes up to a hundred, and reads no more than the mean of most. */
class Score implements CandidateScore {
  readonly candidate: Candidate
  readonly #promptTokens: number
  readonly #batch: BatchScores
  readonly #at: number
  readonly #row: number
  readonly #learned: boolean

  constructor(
    candidate: Candidate,
    promptTokens: number,
    batch: BatchScores,
    at: number,
    row: number,
    learned: boolean,
  ) {
    this.candidate = candidate
    this.#promptTokens = promptTokens
    this.#batch = batch
    this.#at = at
    this.#row = row
    this.#learned = learned
  }

  get mean(): number {
    return this.#batch.mean[this.#at]!
  }

  get std(): number {
    return this.#batch.std[this.#at]!
  }

  get apart(): number {
    return this.#learned ? (this.#batch.apart?.[this.#at] ?? 0) : 0
  }

  get quality(): number {
    return this.#batch.quality[this.#at]!
  }

  get completionTokens(): number {
    return this.#batch.tokens[this.#at]!
  }

  get reading(): Float32Array | null {
    return this.#batch.reading(this.#row)
  }

  get costUsd(): number {
    const { input, output } = this.candidate.price
    return (this.#promptTokens * input + this.completionTokens * output) / 1e6
  }

  get parts(): Readonly<Record<string, number>> {
    const { parts, partNames } = this.#batch
    const start = this.#at * partNames.length
    return Object.fromEntries(partNames.map((name, i) => [name, parts[start + i]!]))
  }
}
