import { describe, expect, test } from 'vitest'
import { costUsd } from '../../src/candidates/pricing.ts'
import { estimateUsage } from '../../src/openai/estimate-tokens.ts'
import { NO_USAGE, parseUsage } from '../../src/openai/usage.ts'
import { expectClose } from '../support/close.ts'

const price = { input: 3, output: 15, cachedInput: 0.3, cacheWrite: 3.75 }
const usage = { ...NO_USAGE, promptTokens: 1_000_000, completionTokens: 200_000 }

describe('costUsd', () => {
  test('input and output, per million tokens', () => {
    expectClose(costUsd(usage, price), 3 + 3, 1e-12)
    expect(costUsd(NO_USAGE, price)).toBe(0)
  })

  test('cached tokens and cache writes have their own price, and are parts of the prompt', () => {
    expectClose(
      costUsd({ ...usage, cachedTokens: 500_000, cacheWriteTokens: 100_000 }, price),
      0.4 * 3 + 0.15 + 0.375 + 3,
      1e-12,
    )
  })

  test('without a price of their own they cost what input costs', () => {
    expectClose(costUsd({ ...usage, cachedTokens: 500_000 }, { input: 3, output: 15 }), 6, 1e-12)
  })

  test('what is written for an hour costs twice what input does, as a part of what is written', () => {
    expectClose(
      costUsd({ ...usage, cacheWriteTokens: 100_000, hourWriteTokens: 40_000 }, price),
      0.9 * 3 + 0.06 * 3.75 + 0.04 * 6 + 3,
      1e-12,
    )
    expectClose(costUsd({ ...usage, hourWriteTokens: 40_000 }, price), 6, 1e-12)
  })

  test('a long prompt has its own price, for all tokens', () => {
    const above = [
      { tokens: 200_000, input: 6, output: 22.5, cachedInput: 0.6 },
      { tokens: 1_000_000, input: 9, output: 30 },
    ]
    expectClose(costUsd({ ...usage, cachedTokens: 500_000 }, { ...price, above }), 0.5 * 6 + 0.3 + 0.2 * 22.5, 1e-12)
    expectClose(costUsd({ ...usage, promptTokens: 200_000 }, { ...price, above }), 0.2 * 3 + 3, 1e-12)
    expectClose(costUsd({ ...usage, promptTokens: 1_000_001 }, { ...price, above }), 9.000009 + 6, 1e-12)
  })

  test('reasoning is part of the completion: not billed twice', () => {
    expectClose(costUsd({ ...usage, reasoningTokens: 150_000 }, price), 6, 1e-12)
  })

  test('parts larger than the whole never make it negative', () => {
    expectClose(
      costUsd({ ...NO_USAGE, promptTokens: 10, cachedTokens: 50, cacheWriteTokens: 50 }, price),
      (10 * 0.3) / 1e6,
      1e-12,
    )
  })
})

describe('parseUsage', () => {
  test.each([
    [
      'OpenAI',
      {
        prompt_tokens: 9,
        completion_tokens: 5,
        prompt_tokens_details: { cached_tokens: 4 },
        completion_tokens_details: { reasoning_tokens: 2 },
      },
      [9, 5, 4, 0, 2],
    ],
    [
      'DeepSeek',
      { prompt_tokens: 9, completion_tokens: 5, prompt_cache_hit_tokens: 3, prompt_cache_miss_tokens: 6 },
      [9, 5, 3, 0, 0],
    ],
    [
      'OpenRouter',
      {
        prompt_tokens: 9,
        completion_tokens: 5,
        cost: 0.1,
        prompt_tokens_details: { cached_tokens: 1, cache_write_tokens: 7 },
      },
      [9, 5, 1, 7, 0],
    ],
    ['null details', { prompt_tokens: 9, completion_tokens: 5, prompt_tokens_details: null }, [9, 5, 0, 0, 0]],
    ['only a prompt', { prompt_tokens: 9 }, [9, 0, 0, 0, 0]],
  ])('%s', (_, value, [promptTokens, completionTokens, cachedTokens, cacheWriteTokens, reasoningTokens]) => {
    expect(parseUsage(value)).toEqual({
      promptTokens,
      completionTokens,
      cachedTokens,
      cacheWriteTokens,
      reasoningTokens,
    })
  })

  test.each([
    null,
    undefined,
    'x',
    [],
    {},
    { prompt_tokens: 'nine' },
    { prompt_tokens: -1 },
    { prompt_tokens: Number.NaN },
  ])('%j is no usage', (value) => {
    expect(parseUsage(value)).toBe(null)
  })
})

test('an estimate counts characters, and never less than a token an event', () => {
  expect(estimateUsage(7, 41)).toEqual({ ...NO_USAGE, promptTokens: 7, completionTokens: 11 })
  expect(estimateUsage(7, 4, 3).completionTokens).toBe(3)
})
