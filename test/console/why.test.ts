import { describe, expect, it } from 'vitest'
import { type Weighed, whyInWords } from '../../src/console/why.ts'

const weighed = (name: string, of: Partial<Weighed> = {}): Weighed => ({
  name,
  mean: 0.3,
  parts: { quality: 0.4, cost: -0.05, length: 0, liking: 0 },
  quality: 0.7,
  predicted_cost_usd: 0.001,
  completion_tokens: 200,
  excluded: null,
  ...of,
})

const mini = weighed('mini')
const dear = weighed('gpt-5', {
  mean: 0.25,
  parts: { quality: 0.42, cost: -0.12, length: 0, liking: 0 },
  quality: 0.72,
  predicted_cost_usd: 0.009,
  completion_tokens: 900,
})

describe('why, in words', () => {
  it('compares with the next best by price, quality and length, and by what that is worth to the user', () => {
    const short = { candidate: 'nano', tokens: 150 }
    const said = [
      ...Array(6).fill({ ...short, reward: 1 }),
      { ...short, reward: -1 },
      { candidate: 'gpt-5', tokens: 900, reward: -1 },
      { candidate: 'mini', tokens: null, reward: 1 },
    ]
    expect(whyInWords('mini', 'personal', [mini, dear], said)).toEqual([
      'mini is what this user is expected to like best, by what they said before.',
      'Chosen over gpt-5: they rated short answers up 6 of 7 times; they rated mini up 1 of 1 time; ' +
        'they rated gpt-5 up 0 of 1 time; 9 × cheaper; quality within 0.02; an answer 4.5 × shorter.',
      'To this user that is worth: cost +0.07, quality -0.02 (on a scale from -1 to 1).',
    ])
  })

  it('says whom the user stated for such tasks, and why another answers', () => {
    const wish = { task: 'code', candidate: 'mini', why_not: null }
    const [first, second] = whyInWords('mini', 'stated', [mini, dear], [], null, wish)
    expect(first).toBe('They stated that mini answers code.')
    expect(second).toMatch(/^Compared with gpt-5: 9 × cheaper/)
    const [before] = whyInWords('mini', 'stated', [mini], [], null, { ...wish, task: null })
    expect(before).toBe('They stated that mini answers tasks of this kind.')
    const failed = { task: 'code', candidate: 'llama', why_not: 'lacks vision' }
    expect(whyInWords('mini', 'personal', [mini, dear], [], null, failed).slice(0, 2)).toEqual([
      'They stated that llama answers code; not this time: lacks vision.',
      'mini is what this user is expected to like best, by what they said before.',
    ])
  })

  it('says of a past request what the log has: no quality, no length, but what was expected', () => {
    const past = (name: string, mean: number, usd: number) => ({ name, mean, predicted_cost_usd: usd })
    expect(whyInWords('mini', 'sticky', [past('gpt-5', 0.25, 0.009), past('mini', 0.3, 0.001)], [])).toEqual([
      'The conversation stays with mini, which answered before.',
      'Compared with gpt-5: 9 × cheaper; expected reward 0.050 higher.',
    ])
  })

  it('says what is dearer and better, and who was left out', () => {
    const denied = weighed('llama', { mean: 0.9, excluded: 'denied by the user' })
    const words = whyInWords('gpt-5', 'cold_start', [denied, dear, weighed('mini', { quality: 0.5 })], [])
    expect(words[1]).toBe('Chosen over mini: 9 × dearer; quality 0.22 higher; an answer 4.5 × as long.')
    expect(words.at(-1)).toBe('Left out: llama (denied by the user).')
  })

  it('says why the baseline or favourite is not left', () => {
    const care = { favourite: 'gpt-5', caution: 100, risk: 0.2 }
    const held = 'It answers as long as it is not at least 80 % sure that this user gains by being given others, too.'
    expect(whyInWords('gpt-5', 'cold_start', [mini, dear], [], care)[1]).toBe(held)
    expect(whyInWords('gpt-5', 'personal', [mini, dear], [], { ...care, caution: 0.25 })[1]).toBe(
      'mini is expected to be better by 0.05, but that is within 0.25 deviations of what is not known of this user.',
    )
    // Nobody better, another one chosen, or no choice of the router's: nothing is held back.
    expect(whyInWords('mini', 'personal', [mini, dear], [], { ...care, caution: 0.25, favourite: 'mini' })).toEqual(
      whyInWords('mini', 'personal', [mini, dear], []),
    )
    expect(whyInWords('mini', 'personal', [mini, dear], [], care)).not.toContain(held)
    expect(whyInWords('gpt-5', 'sticky', [mini, dear], [], care)).not.toContain(held)
  })

  it.each([
    ['sticky', /stays with mini/],
    ['explicit', /asked for by name/],
    ['explore', /learn more about it/],
    ['fallback', /in place of what would have been/],
    ['unheard_of', /chosen \(unheard_of\)/],
  ])('knows the reason %s', (reason, words) => {
    expect(whyInWords('mini', reason, [mini], [])[0]).toMatch(words)
  })

  it('makes no figure of what was not predicted', () => {
    const ranked = { mean: null, parts: null, quality: null }
    expect(whyInWords('mini', 'fallback', [weighed('mini', ranked), weighed('gpt-5', ranked)], [])).toHaveLength(1)
    expect(whyInWords('none', 'personal', [mini], [])).toEqual([])
  })
})
