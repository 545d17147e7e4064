/** Tells kinds of tasks apart by a query's embedding: a logistic regression beside the artifact's embedder. */
export interface Tasks {
  /** Of the kinds, [n]; a query may be of none. */
  names: readonly string[]
  /** Logits of the kinds over that of none, [n, E] times the embedding, and [n]. */
  weights: Float32Array
  bias: readonly number[]
}

export interface TaskQuery {
  /** What was embedded. */
  text: string
  embedding: Float32Array | null
}

/** Below it, a query may as well be of another kind. */
const LEAST = 0.5
/** Without a letter or a digit (an image alone, a smiley), only the biases would speak. Python asks the same. */
const SAYS_SOMETHING = /[\p{L}\p{N}]/u

/** Probability of each kind of task; none of any where nothing is known of the query. What is left is of no kind. */
export function taskShares({ text, embedding }: TaskQuery, tasks: Tasks | null): Record<string, number> {
  if (embedding === null || tasks === null || !SAYS_SOMETHING.test(text)) return {}
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
export function taskOf(query: TaskQuery, tasks: Tasks | null): string | null {
  for (const [name, share] of Object.entries(taskShares(query, tasks))) if (share > LEAST) return name
  return null
}
