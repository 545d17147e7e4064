import type { Tensor } from 'onnxruntime-node'
import type { Candidate } from '../candidate.ts'
import { type CandidateScore, type RouteQuery, RouterError } from './router.ts'

/** The outputs of one run of `score.onnx`, read row by row. */
export class BatchScores {
  readonly #candidates: readonly Candidate[]
  readonly #partNames: readonly string[]
  readonly #mean: Float32Array
  readonly #std: Float32Array
  readonly #parts: Float32Array
  readonly #quality: Float32Array
  readonly #tokens: Float32Array

  constructor(
    outputs: Readonly<Record<string, Tensor>>,
    candidates: readonly Candidate[],
    partNames: readonly string[],
  ) {
    const data = (name: string) => outputs[name]!.data as Float32Array
    this.#candidates = candidates
    this.#partNames = partNames
    this.#mean = data('mean')
    this.#std = data('std')
    this.#parts = data('parts')
    this.#quality = data('quality')
    this.#tokens = data('completion_tokens')
  }

  /** @throws RouterError `not_finite`; `all_equal` where several candidates can't be told apart though the user's taste was asked */
  row(row: number, { promptTokens, costWeight }: RouteQuery): CandidateScore[] {
    const m = this.#candidates.length
    const scores = new Array<CandidateScore>(m)
    let equal = true
    for (let i = 0, at = row * m; i < m; i++, at++) {
      const candidate = this.#candidates[i]!
      const [mean, std, quality, tokens] = [this.#mean[at]!, this.#std[at]!, this.#quality[at]!, this.#tokens[at]!]
      // A sum is finite only if each of them is.
      if (!Number.isFinite(mean + std + quality + tokens)) {
        throw new RouterError('not_finite', 'A score is not a finite number.')
      }
      const costUsd = (promptTokens * candidate.price.input + tokens * candidate.price.output) / 1e6
      scores[i] = new Score(candidate, mean, std, quality, tokens, costUsd, this.#parts, at, this.#partNames)
      equal &&= mean === scores[0]!.mean
    }
    // With a given weight, free models may well be equal.
    if (equal && m > 1 && costWeight === undefined) {
      throw new RouterError('all_equal', 'All candidates have the same score.')
    }
    return scores
  }
}

/** A hundred of these are made for a request: parts, which `explain` alone reads, are made when asked for. */
class Score implements CandidateScore {
  readonly candidate: Candidate
  readonly mean: number
  readonly std: number
  readonly quality: number
  readonly completionTokens: number
  readonly costUsd: number
  readonly #allParts: Float32Array
  readonly #at: number
  readonly #names: readonly string[]

  constructor(
    candidate: Candidate,
    mean: number,
    std: number,
    quality: number,
    completionTokens: number,
    costUsd: number,
    allParts: Float32Array,
    at: number,
    names: readonly string[],
  ) {
    this.candidate = candidate
    this.mean = mean
    this.std = std
    this.quality = quality
    this.completionTokens = completionTokens
    this.costUsd = costUsd
    this.#allParts = allParts
    this.#at = at
    this.#names = names
  }

  get parts(): Readonly<Record<string, number>> {
    const start = this.#at * this.#names.length
    return Object.fromEntries(this.#names.map((name, i) => [name, this.#allParts[start + i]!]))
  }
}
