import { expect, it } from 'vitest'
import { parsePreferences } from '../../src/http/profiles.ts'

const parse = (body: object) => parsePreferences(Buffer.from(JSON.stringify(body)))

it('takes preferences bare, or as the export of a profile has them', () => {
  expect(parse({ cost_weight: 0.5, deny: ['a'] })).toEqual({ cost_weight: 0.5, deny: ['a'] })
  expect(parse({ id: 'ann', preferences: { explore: false } })).toEqual({ explore: false })
})

it.each([
  [{ denny: ['a'] }, 'denny'],
  [{ cost_weight: 2 }, 'cost_weight'],
  [{ allow: [''] }, 'allow.0'],
])('%j is a 400 that names %s', (body, param) => {
  expect(() => parse(body)).toThrow(
    expect.objectContaining({ status: 400, param, message: expect.stringContaining(param) }),
  )
})
