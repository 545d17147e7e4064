import { describe, expect, it } from 'vitest'
import { evidenceSlot, pooledEvidence } from '../../../src/routing/choose/evidence.ts'

describe('evidence', () => {
  it('has the same slot for the same user, and one of sixteen', () => {
    const slots = new Set(Array.from({ length: 1_000 }, (_, i) => evidenceSlot('gpt', `user-${i}`)))
    expect(slots.size).toBe(16)
    expect(evidenceSlot('gpt', 'ann')).toBe(evidenceSlot('gpt', 'ann'))
    expect(evidenceSlot('gpt', null)).toBe('gpt')
  })

  it('counts opinions once enough slots hold some, and facts always', () => {
    const one = Float32Array.of(1, 2)
    const slots = new Map([
      ['a', Float32Array.of(10, 20)],
      ['a#1', one],
      ['a#2', one],
      ['b#1', one],
      ['b#7', one],
      ['b#9', one],
      ['c#1', one],
    ])
    expect(pooledEvidence(slots, 3)).toEqual(
      new Map([
        ['a', Float32Array.of(10, 20)],
        ['b', Float32Array.of(3, 6)],
      ]),
    )
    expect(pooledEvidence(slots, 2).get('a')).toEqual(Float32Array.of(12, 24))
    expect(pooledEvidence(slots, 1).get('c')).toEqual(one)
  })
})
