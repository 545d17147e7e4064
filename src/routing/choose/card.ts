import type { Candidate } from '../../candidates/candidate.ts'
import type { CardFeature, Manifest } from '../artifact/manifest.ts'
import { derivedFields, transformed } from './ability.ts'

const CLIP = 4

/**
 * A candidate's card in numbers: value and presence of each feature, standardised. router-model's `cards.py` computes
 * the same.
 *
 * @param reading how the derived fields are inferred; older artifacts have none
 * @returns [2 x features]
 */
export function cardFeatures(
  candidate: Candidate,
  features: readonly CardFeature[],
  { ability, verbosity }: Pick<Manifest, 'ability' | 'verbosity'> = {},
): Float32Array {
  const numbers = new Float32Array(2 * features.length)
  const known = (field: string) => {
    const value = fieldOf(candidate, field)
    return value === undefined || !Number.isFinite(value) ? undefined : value
  }
  const derived = ability && verbosity ? derivedFields(candidate, known, ability, verbosity) : {}
  for (const [i, { field, transform, mean, std }] of features.entries()) {
    const value = derived[field] ?? known(field)
    if (value === undefined) continue
    const standardised = (transformed(value, transform) - mean) / std
    numbers[2 * i] = Math.min(Math.max(standardised, -CLIP), CLIP)
    numbers[2 * i + 1] = 1
  }
  return numbers
}

/** A field by its name in the manifest; undefined where the candidate lacks it or the field is unknown. */
function fieldOf(candidate: Candidate, field: string): number | undefined {
  if (field.startsWith('benchmarks.')) return candidate.benchmarks[field.slice('benchmarks.'.length)]
  switch (field) {
    case 'input_price':
      return candidate.price.input
    case 'output_price':
      return candidate.price.output
    case 'context_window':
      return candidate.contextWindow
    case 'size_b':
      return candidate.sizeB
    case 'released':
      return candidate.released
    case 'open_weights':
      return flag(candidate.openWeights)
    case 'reasoning':
      return flag(candidate.reasoning)
    case 'tools':
    case 'vision':
    case 'json_schema':
      return flag(candidate.capabilities.has(field))
    default:
      return undefined
  }
}

const flag = (value: boolean | undefined) => (value === undefined ? undefined : Number(value))

/** The text of a card that is embedded. */
export const cardText = ({ vendor, name, description }: Candidate) => `${vendor} ${name}: ${description}`
