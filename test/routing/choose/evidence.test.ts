import { describe, expect, it } from 'vitest'
import { ANONYMOUS } from '../../../src/candidates/tenants.ts'
import {
  dayOf,
  evidenceName,
  evidenceRow,
  influence,
  opinionsOf,
  PEOPLE,
  pooledEvidence,
  voiceOf,
} from '../../../src/routing/choose/evidence.ts'
import { expectClose } from '../../support/close.ts'

const RULES = { quorum: 3, keyWeight: 8, halfLifeDays: 10 }
const NOW = 20_000 * 86_400_000

/** So many users of one voice who gave one rating each, of the same value; a message is (1, its value). */
const said = (voice: string, users: number, value: number, { ratings = users, at = NOW, of = 'llm' } = {}) =>
  [
    evidenceName(of, voice),
    evidenceRow([ratings, ratings * value], { weight: ratings, users, value: ratings * value, at }),
  ] as const
const pool = (...rows: (readonly [string, Float32Array])[]) => pooledEvidence(new Map(rows), RULES, NOW)

describe('a voice', () => {
  const slots = (voices: string[]) => new Set(voices).size

  it('is a user whom somebody vouches for, in one of sixteen slots', () => {
    const voices = Array.from({ length: 1_000 }, (_, i) => voiceOf({ user: `u${i}`, key: 'k', vouched: true }))
    expect(slots(voices)).toBe(16)
    expect(voices.every((voice) => voice.startsWith('u'))).toBe(true)
  })

  it('is else the key: all users whom it makes up are one', () => {
    const voices = Array.from({ length: 1_000 }, (_, i) => voiceOf({ user: `u${i}`, key: 'k', vouched: false }))
    expect(slots(voices)).toBe(1)
    expect(voiceOf({ user: ANONYMOUS, key: 'k', vouched: true })).toBe(voices[0])
    const keys = Array.from({ length: 1_000 }, (_, i) => voiceOf({ user: 'u', key: `k${i}`, vouched: false }))
    expect(slots(keys)).toBe(16)
  })
})

describe('evidence', () => {
  it('counts once there is a quorum of voices; the judge’s at once, as one key at most', () => {
    expect(pool(said('u1', 1, 1), said('u2', 1, 1)).size).toBe(0)
    expect(pool(said('u1', 1, 1), said('u2', 1, 1), said('u3', 1, 1)).get('llm')).toEqual(Float32Array.of(3, 3))
    // Several users of one slot are as many voices.
    expect(pool(said('u1', 3, 1)).get('llm')).toEqual(Float32Array.of(3, 3))
    expectClose(pool(said('j', 0, 1, { ratings: 8 })).get('llm'), Float32Array.of(4, 4))
    expect(pool(said('j', 0, 1, { ratings: 1e6 })).get('llm')?.[0]).toBeLessThan(8)
  })

  it('of one key saturates, however many users it names and however much they say', () => {
    // 8 n / (n + 8) >= 3 from n = 5 on.
    expect(pool(said('k1', 4, 1)).size).toBe(0)
    expectClose(pool(said('k1', 5, 1)).get('llm'), Float32Array.of(40 / 13, 40 / 13))
    for (const users of [50, 500, 50_000]) {
      const [ratings = 0] = pool(said('k1', users, 1, { ratings: 3 * users })).get('llm') ?? []
      expect(ratings).toBeGreaterThan(7)
      expect(ratings).toBeLessThan(8)
    }
    // One rating by many names does not reach the quorum with a thousand ratings of few.
    expect(pool(said('k1', 2, 1, { ratings: 1_000 })).size).toBe(0)
  })

  it('of many keys that vouch for nobody counts as two of them at most', () => {
    const keys = Array.from({ length: 10 }, (_, i) => said(`k${i}`, 500, 1))
    expectClose(pool(...keys).get('llm'), Float32Array.of(16, 16))
    expectClose(pool(...keys, said('u1', 7, 1)).get('llm')?.[0], 23)
  })

  it('on the tenant’s people, of many keys that vouch for nobody, counts as one of them at most', () => {
    const keys = Array.from({ length: 10 }, (_, i) => said(`k${i}`, 500, 0, { of: PEOPLE }))
    expectClose(pool(...keys).get(PEOPLE)?.[0], 8)
    expectClose(pool(...keys, said('u1', 7, 0, { of: PEOPLE })).get(PEOPLE)?.[0], 15)
  })

  it('of a judge is no voice, and brings nobody closer to the quorum', () => {
    const [judge, users] = [said('j', 5, -1, { ratings: 8 }), said('u1', 2, 1)]
    expectClose(pool(judge, users).get('llm'), Float32Array.of(4, -4))
  })

  it('of a judge on one voice’s answers counts little where it says otherwise of all others’', () => {
    const of = (voice: string, mean: number, ratings: number) => said(voice, 0, mean, { ratings })
    const honest = ['ju1', 'ju2', 'jk3'].map((voice) => of(voice, 0.6, 8))
    const [ratings = 0, value = 0] = pool(...honest, of('jk4', -1, 500)).get('llm') ?? []
    expect(ratings).toBeLessThan(8.001)
    expect(value / ratings).toBeGreaterThan(0.4)
    // Alone it is what the judge says, as one key at most; nobody's quorum.
    expectClose(pool(of('jk4', -1, 8)).get('llm'), Float32Array.of(4, -4))
    expect(pool(of('jk4', -1, 1e6)).get('llm')?.[0]).toBeLessThan(8)
    expect(pool(...honest, said('u1', 2, 1)).get('llm')?.[1]).toBeLessThan(8)
  })

  it('of a loud voice far from the others counts little, however loud; of one with few ratings it is noise', () => {
    const honest = Array.from({ length: 8 }, (_, i) => said(`u${i}`, 5, 0.6))
    const loud = said('k1', 500, -1)
    const [ratings = 0, value = 0] = pool(...honest, loud).get('llm') ?? []
    expect(value / ratings).toBeGreaterThan(0.55)
    const quiet = said('k1', 1, -1)
    expectClose(pool(...honest, quiet).get('llm')?.[0], 40 + 8 / 9)
    expect(influence(0.4, 1e6)).toBe(1)
    expect(influence(-2, 1e6)).toBeLessThan(0.1)
  })

  it('fades by half in the half-life, and from the quorum, too', () => {
    const at = NOW - 10 * 86_400_000
    expectClose(pool(said('u1', 8, 1, { at })).get('llm'), Float32Array.of(4, 4))
    expect(pool(said('u1', 5, 1, { at })).size).toBe(0)
    // A clock that runs ahead makes nothing larger.
    expect(pool(said('u1', 4, 1, { at: NOW + 86_400_000 })).get('llm')).toEqual(Float32Array.of(4, 4))
  })

  it('that was taken back is no opinion; rows of another kind are left alone', () => {
    const rows = new Map([said('u1', 3, 0, { ratings: 0 }), ['llm', Float32Array.of(1, 2, 3)] as const])
    expect(opinionsOf(rows, RULES, NOW).size).toBe(0)
    expect(dayOf(NOW)).toBe(20_000)
  })

  it('belongs to a candidate whose name may hold the separator', () => {
    expect([...opinionsOf(new Map([said('u1', 3, 1, { of: 'a#b' })]), RULES, NOW).keys()]).toEqual(['a#b'])
  })
})
