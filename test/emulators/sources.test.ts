import { expect, it } from 'vitest'
import { EMULATORS } from './index.ts'

it.each(EMULATORS.flatMap(({ name, rules }) => rules.map(({ source }) => ({ name, source }))))(
  'of $name’s rule it is said what stands behind it: $source',
  ({ source }) => {
    expect(source).toMatch(/^(docs: |report: |code: |inferred)/)
  },
)
