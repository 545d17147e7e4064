/** What a Claude model takes, as far as its generation decides it. */
export interface Dialect {
  /**
   * `adaptive`: `thinking: adaptive` with `output_config.effort` (4.6 on); `budget`: `thinking: enabled` with tokens
   * (3.7 to 4.5); `none` before.
   */
  thinking: 'adaptive' | 'budget' | 'none'
  /** Thinks unless told not to (5 on); from 5.5 on it can't be told. */
  thinksByDefault: boolean
  thinksAlways: boolean
  /** `temperature` and `top_p` are accepted (before 4.7). */
  sampling: boolean
  /** A conversation may end with the assistant's message, to be gone on with (before 4.6). */
  prefill: boolean
  /** `output_config.format` is accepted (4.5 on); before, a forced tool stands in. */
  structuredOutputs: boolean
}

const LATEST = 99

/**
 * By the version in the model's name: "claude-sonnet-4-5-20250929", "claude-3-7-sonnet-latest", "claude-opus-5". Names
 * without one count as new.
 */
export function dialectOf(model: string): Dialect {
  const version = versionOf(model)
  return {
    thinking: version >= 4.6 ? 'adaptive' : version >= 3.7 ? 'budget' : 'none',
    thinksByDefault: version >= 5,
    thinksAlways: version >= 5.5 && version < LATEST,
    sampling: version < 4.7,
    prefill: version < 4.6,
    structuredOutputs: version >= 4.5,
  }
}

function versionOf(model: string): number {
  // A date of eight digits is not a version.
  const match = /(?:^|[-.@/])(\d)(?:[-.](\d))?(?=$|[-.@:/])/.exec(model)
  return match ? Number(`${match[1]}.${match[2] ?? 0}`) : LATEST
}
