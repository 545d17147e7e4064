import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { dialectTable, withTable } from '../../scripts/dialect-table.mjs'

test('the table of dialects in docs/providers.md is the one that config/models.yaml gives', () => {
  expect(readFileSync('docs/providers.md', 'utf8')).toBe(withTable())
})

test('a rule in words', () => {
  const house = {
    fields: {
      seed: 'drop',
      max_completion_tokens: { rename: 'max_tokens', max: 8192 },
      reasoning_effort: { instead: { none: { think: false } }, otherwise: 'drop' },
      verbosity: { map: { low: 'brief' }, values: [], otherwise: 'drop' },
    },
    roles: { developer: 'system' },
    models: [{ match: ['a*'], fields: { n: 'avoid' } }],
  }
  expect(dialectTable({ house })).toBe(
    [
      '| field | house |',
      '| --- | --- |',
      '| `max_completion_tokens` | as `max_tokens`; ..8192 |',
      '| `reasoning_effort` | none → `{"think":false}`; others as they are |',
      '| `seed` | drop |',
      '| `verbosity` | low → brief; else drop |',
      '',
      '- **house**: roles: developer system',
      '  - `a*`: `n` avoid',
    ].join('\n'),
  )
})
