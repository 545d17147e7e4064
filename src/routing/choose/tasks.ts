/** Tells kinds of tasks apart by a query's embedding: a logistic regression beside the artifact's embedder. */
export interface Tasks {
  /** Of the kinds, [n]; a query may be of none. */
  names: readonly string[]
  /** Logits of the kinds over that of none, [n, E] times the embedding, and [n]. */
  weights: Float32Array
  bias: readonly number[]
}

/** Below it, a query may as well be of another kind. */
const LEAST = 0.5

/** Probability of each kind of task; none of any where nothing is known of the query. What is left is of no kind. */
export function taskShares(embedding: Float32Array | null, tasks: Tasks | null): Record<string, number> {
  if (embedding === null || tasks === null) return {}
  const { names, weights, bias } = tasks
  const logits = bias.map((start, i) => {
    let logit = start
    for (let k = 0; k < embedding.length; k++) {
      logit += (weights[i * embedding.length + k] as number) * (embedding[k] as number)
    }
    return logit
  })
  const most = Math.max(0, ...logits)
  const odds = logits.map((logit) => Math.exp(logit - most))
  const sum = odds.reduce((all, one) => all + one, Math.exp(-most))
  return Object.fromEntries(names.map((name, i) => [name, (odds[i] as number) / sum]))
}

/** The kind that is more probable than all else together; null where none is. */
export function taskOf(embedding: Float32Array | null, tasks: Tasks | null): string | null {
  for (const [name, share] of Object.entries(taskShares(embedding, tasks))) if (share > LEAST) return name
  return null
}
