/** Rows of one width, [n x width]. */
export interface Dictionary {
  rows: Float32Array
  width: number
}

/**
 * Orthogonal matching pursuit (Pati, Rezaiifar, Krishnaprasad 1993): the rows whose sum, each taken so many times,
 * comes closest to `target`, found one by one.
 *
 * @param unit each row scaled to length 1 (`normalised`)
 * @returns numbers of at most `most` rows
 */
export function matchingPursuit({ rows, width }: Dictionary, target: Float32Array, most: number): number[] {
  const chosen: number[] = []
  const residual = Float64Array.from(target)
  while (chosen.length < most) {
    let [best, most_alike] = [-1, 0]
    for (let row = 0, at = 0; at < rows.length; row++, at += width) {
      let alike = 0
      for (let i = 0; i < width; i++) alike += rows[at + i]! * residual[i]!
      if (alike > most_alike && !chosen.includes(row)) [best, most_alike] = [row, alike]
    }
    if (best < 0) break
    chosen.push(best)
    const shares = leastSquares({ rows, width }, chosen, target)
    for (let i = 0; i < width; i++) {
      residual[i] = target[i]! - chosen.reduce((sum, row, k) => sum + shares[k]! * rows[row * width + i]!, 0)
    }
  }
  return chosen
}

/** By the normal equations, a little damped. */
function leastSquares({ rows, width }: Dictionary, chosen: readonly number[], target: Float32Array): Float64Array {
  const n = chosen.length
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0)
  const columns = chosen.map((row) => rows.subarray(row * width, (row + 1) * width))
  const matrix = columns.map((a, i) =>
    Float64Array.from([...columns.map((b, j) => dot(a, b) + (i === j ? 1e-6 : 0)), dot(a, target)]),
  )
  for (let pivot = 0; pivot < n; pivot++) {
    for (let row = pivot + 1; row < n; row++) {
      const factor = matrix[row]![pivot]! / matrix[pivot]![pivot]!
      for (let i = pivot; i <= n; i++) matrix[row]![i]! -= factor * matrix[pivot]![i]!
    }
  }
  const found = new Float64Array(n)
  for (let row = n - 1; row >= 0; row--) {
    let rest = matrix[row]![n]!
    for (let i = row + 1; i < n; i++) rest -= matrix[row]![i]! * found[i]!
    found[row] = rest / matrix[row]![row]!
  }
  return found
}

/** The same directions, each of length 1; zeros stay zeros. */
export function normalised({ rows, width }: Dictionary): Dictionary {
  const made = Float32Array.from(rows)
  for (let at = 0; at < made.length; at += width) {
    const row = made.subarray(at, at + width)
    const length = Math.hypot(...row) || 1
    for (let i = 0; i < width; i++) row[i]! /= length
  }
  return { rows: made, width }
}

/** Each column with mean 0 and deviation 1, in a dictionary and in targets alike: else its largest numbers decide. */
export function standardiser({ rows, width }: Dictionary): (vector: Float32Array) => Float32Array {
  const n = rows.length / width
  const [mean, square] = [new Float64Array(width), new Float64Array(width)]
  for (let at = 0; at < rows.length; at++) {
    mean[at % width]! += rows[at]! / n
    square[at % width]! += rows[at]! ** 2 / n
  }
  const deviation = square.map((value, i) => Math.sqrt(Math.max(value - mean[i]! ** 2, 0)) || Number.POSITIVE_INFINITY)
  return (vector) => vector.map((value, i) => (value - mean[i % width]!) / deviation[i % width]!)
}

/**
 * Share of the words of each text that was found from it; and, for comparison, from the others: words that many texts
 * have are found without any of them.
 */
export function recall(found: readonly (readonly number[])[], words: readonly ReadonlySet<number>[]) {
  const share = (some: readonly number[], of: ReadonlySet<number>) =>
    some.filter((word) => of.has(word)).length / of.size
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  return {
    own: mean(words.map((of, i) => share(found[i] ?? [], of))),
    chance: mean(words.map((of, i) => mean(found.filter((_, j) => j !== i).map((some) => share(some, of))))),
  }
}
