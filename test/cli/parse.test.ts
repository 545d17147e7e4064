import { describe, expect, it } from 'vitest'
import { parseExpiry, parsePast } from '../../src/cli/parse.ts'

const DAY_MS = 86_400_000

describe('when', () => {
  it('is so many days, or a date', () => {
    expect(parsePast('2026-11-28')).toBe(Date.UTC(2026, 10, 28))
    for (const text of ['2026-11-28T10:30Z', '2026-11-28 10:30:00Z', '2026-11-28T12:30:00.000+02:00']) {
      expect(parsePast(text)).toBe(Date.UTC(2026, 10, 28, 10, 30))
    }
    for (const text of ['7', '7d', '7.0']) {
      expect(Math.abs(parsePast(text) - (Date.now() - 7 * DAY_MS))).toBeLessThan(60_000)
      expect(Math.abs(parseExpiry(text) - (Date.now() + 7 * DAY_MS))).toBeLessThan(60_000)
    }
    expect(parseExpiry('9999-12-31')).toBe(Date.UTC(9999, 11, 31))
  })

  // What `Date.parse` makes of these is some day of the past: a key would be born dead, a report empty.
  it.each([
    '-3',
    '-1',
    '90 days',
    '1 year',
    '7 d',
    'last 5',
    '11/28/2026',
    '2026-02-30',
    '2026-13-01',
    '2026-1-5',
    'yesterday',
    '',
    ' ',
    'Infinity',
    '1e3',
  ])('is not %j', (text) => {
    for (const parse of [parsePast, parseExpiry]) {
      expect(() => parse(text)).toThrow('Expected a number of days or a date')
    }
  })
})
