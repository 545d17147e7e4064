import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { code, codesOf } from '../../../src/routing/choose/codes.ts'
import { expectClose } from '../../support/close.ts'

interface Golden {
  codes: { text: string; n: number; code: number[] }[]
  frames: { names: string[]; n: number; codes: number[][] }[]
}

/** From the Python package: see make.py beside it. */
const golden: Golden = JSON.parse(readFileSync(new URL('../../fixtures/cards/cards.json', import.meta.url), 'utf8'))

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0)

describe('code', () => {
  it.each(golden.codes)('is that of the Python package for "$text", $n bits', ({ text, n, code: expected }) => {
    expect(code(text, n)).toEqual(Float32Array.from(expected, (value) => Math.sign(value) / Math.sqrt(n)))
    expectClose(code(text, n), expected)
  })

  it('does not mind capitals', () => {
    expect(code('OpenAI', 32)).toEqual(code('openai', 32))
    expect(code('openai', 32)).not.toEqual(code('anthropic', 32))
  })
})

describe('codesOf', () => {
  it.each(golden.frames)('is that of the Python package for $names.length names in $n dimensions', (frame) => {
    const found = codesOf(frame.names, frame.n, 'frame')
    for (const [i, name] of frame.names.entries()) expectClose(found.get(name), frame.codes[i] as number[])
  })

  it('makes a liking for one name say nothing of another', () => {
    const found = [...codesOf(['a', 'b', 'c', 'd', 'e'], 24, 'frame').values()]
    for (const [i, one] of found.entries()) {
      for (const [j, other] of found.entries()) expect(dot(one, other)).toBeCloseTo(i === j ? 1 : 0, 5)
    }
  })

  it('depends neither on the order of names nor on capitals nor on names that come twice', () => {
    expect(codesOf(['B', 'a', 'b'], 24, 'frame')).toEqual(codesOf(['a', 'b'], 24, 'frame'))
  })

  it('hashes each name alone where the artifact was made with hashed codes', () => {
    expect(codesOf(['a', 'b'], 24, 'hashed').get('b')).toEqual(code('b', 24))
    expect(codesOf(['a', 'b'], 0, 'frame').get('b')).toHaveLength(0)
  })
})
