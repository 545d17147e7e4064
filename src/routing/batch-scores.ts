import type { InferenceSession, Tensor } from 'onnxruntime-node'
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
    outputs: InferenceSession.OnnxValueMapType,
    candidates: readonly Candidate[],
    partNames: readonly string[],
  ) {
    const data = (name: string) => (outputs[name] as Tensor).data as Float32Array
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
    const scores = this.#candidates.map((candidate, column) => this.#score(row, column, candidate, promptTokens))
    const first = scores[0]?.mean
    // With a given weight, free models may well be equal.
    if (scores.length > 1 && costWeight === undefined && scores.every(({ mean }) => mean === first)) {
      throw new RouterError('all_equal', 'All candidates have the same score.')
    }
    return scores
  }

  #score(row: number, column: number, candidate: Candidate, promptTokens: number): CandidateScore {
    const at = row * this.#candidates.length + column
    const [mean, std, quality, tokens] = [this.#mean[at]!, this.#std[at]!, this.#quality[at]!, this.#tokens[at]!]
    // A sum is finite only if each of them is.
    if (!Number.isFinite(mean + std + quality + tokens)) {
      throw new RouterError('not_finite', 'A score is not a finite number.')
    }
    const [parts, names] = [this.#parts, this.#partNames]
    return {
      candidate,
      mean,
      std,
      quality,
      completionTokens: tokens,
      costUsd: (promptTokens * candidate.price.input + tokens * candidate.price.output) / 1e6,
      // Read by `explain` alone: not made for every request.
      get parts() {
        return Object.fromEntries(names.map((name, i) => [name, parts[at * names.length + i]!]))
      },
    }
  }
}
