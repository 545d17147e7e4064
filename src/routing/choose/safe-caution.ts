/** What a user's scores of usual questions are: row by row, `candidates` numbers each. */
export interface UsualScores {
  mean: Float32Array
  /** Deviation of the difference to everybody's favourite. */
  apart: Float32Array
  candidates: number
  /** Index of everybody's favourite. */
  favourite: number
}

export interface CautionRule {
  /** The least caution there is. */
  caution: number
  /** Chance of being worse off than with everybody's favourite that is put up with, 0..0.5. */
  risk: number
}

/** Tried from the least cautious on. */
const STEPS = [0.15, 0.25, 0.35, 0.5, 0.75, 1]
/** More than any doubt lets through: everybody's favourite answers. */
export const FAVOURITE_ONLY = 100

/**
 * The least caution with which the user's mean gain over everybody's favourite, over usual questions, is above 0 with
 * probability 1 - risk (high-confidence policy improvement: Thomas, Theocharous & Ghavamzadeh 2015).
 *
 * Doubts about different questions are of the same taste, so they are added up as if they were one.
 */
export function safeCaution(scores: UsualScores, { caution, risk }: CautionRule): number {
  const steps = [caution, ...STEPS.filter((step) => step > caution)]
  return steps.find((step) => chanceOfGain(scores, step) >= 1 - risk) ?? FAVOURITE_ONLY
}

function chanceOfGain({ mean, apart, candidates, favourite }: UsualScores, caution: number): number {
  let gain = 0
  let doubt = 0
  for (let row = 0; row < mean.length; row += candidates) {
    const usual = mean[row + favourite] as number
    let best = favourite
    let most = usual
    for (let i = 0; i < candidates; i++) {
      const worth = (mean[row + i] as number) - caution * (apart[row + i] as number)
      if (i !== favourite && worth > most) {
        best = i
        most = worth
      }
    }
    if (best === favourite) continue
    gain += (mean[row + best] as number) - usual
    doubt += apart[row + best] as number
  }
  return doubt === 0 ? 0 : normal(gain / doubt)
}

/** Standard normal distribution function, within 1e-7: Abramowitz & Stegun 1964, 26.2.17. */
function normal(x: number): number {
  if (x < 0) return 1 - normal(-x)
  const t = 1 / (1 + 0.2316419 * x)
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return 1 - (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * series
}
