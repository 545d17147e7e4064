import { describe, expect, it } from 'vitest'
import { abortReward, implicitRecord, implicitReward, type NextTurn } from '../../../src/learning/sources/implicit.ts'
import { sealVector } from '../../../src/runtime/sealed-vector.ts'
import type { ConversationState } from '../../../src/store/store.ts'
import { routerConfig, tinyEmbed } from '../../routing/support.ts'
import { quantise } from '../support.ts'

const weights = routerConfig().implicit_rewards
const question = 'How do I bake bread without any yeast?'
const vector = tinyEmbed(question)
/** At a given cosine to `vector`. */
function near(cosine: number): Float32Array {
  const other = tinyEmbed('something else entirely, in other words')
  const along = other.reduce((sum, value, i) => sum + value * (vector[i] as number), 0)
  const across = other.map((value, i) => value - along * (vector[i] as number))
  const norm = Math.hypot(...across)
  return vector.map((value, i) => cosine * value + (Math.sqrt(1 - cosine ** 2) * (across[i] as number)) / norm)
}

const SEAL = Buffer.alloc(32, 7)

const previous: ConversationState = {
  candidate: 'middle',
  interaction: 'i1',
  user: 'ann',
  lastUserHash: 'h1',
  vector: sealVector(SEAL, quantise(vector)),
  messages: 3,
  promptTokens: 100,
  ts: 1,
}
const next = (of: Partial<NextTurn> = {}): NextTurn => ({
  user: 'ann',
  lastUserHash: 'h2',
  lastUserChars: 80,
  messages: 5,
  toolLoop: false,
  embedding: near(0.1),
  seal: SEAL,
  ...of,
})

describe('implicit rewards', () => {
  it.each<[string, string | null, Partial<NextTurn>]>([
    ['the same request again', 'regeneration', { messages: 3, lastUserHash: 'h1' }],
    ['the same long message after the answer', 'regeneration', { lastUserHash: 'h1' }],
    ['"go on", twice', null, { lastUserHash: 'h1', lastUserChars: 5 }],
    ['a better wording in its place', 'edit', { messages: 3, embedding: near(0.8) }],
    ['another question in its place', null, { messages: 3, embedding: near(0.2) }],
    ['the same in other words after the answer', 'edit', { embedding: near(0.95) }],
    ['another message after the answer', 'continuation', {}],
    [
      'a better wording, but another conversation’s seal',
      null,
      { messages: 3, embedding: near(0.8), seal: Buffer.alloc(32) },
    ],
    ['another message that was not embedded', 'continuation', { embedding: null }],
    ['a conversation that goes back', null, { messages: 1 }],
    ['a tool’s result', null, { toolLoop: true }],
    ['somebody else', null, { user: 'bob', messages: 3, lastUserHash: 'h1' }],
  ])('%s: %s', (_, kind, of) => {
    const found = implicitReward(previous, next(of), weights)
    expect(found?.kind ?? null).toBe(kind)
    if (found) expect(found).toMatchObject({ value: weights[found.kind].value, weight: weights[found.kind].weight })
  })

  it('can be switched off, each by itself', () => {
    const off = routerConfig({ implicit_rewards: { continuation: { enabled: false } } }).implicit_rewards
    expect(implicitReward(previous, next(), off)).toBeNull()
    expect(implicitReward(previous, next({ messages: 3, lastUserHash: 'h1' }), off)?.kind).toBe('regeneration')
  })

  it('counts an answer that the client left only where that is switched on', () => {
    expect(abortReward('aborted', weights)).toBeNull()
    const on = routerConfig({ implicit_rewards: { abort: { enabled: true } } }).implicit_rewards
    expect(abortReward('aborted', on)).toEqual({ kind: 'abort', value: -0.3, weight: 0.1 })
    expect(abortReward('stop', on)).toBeNull()
  })

  it('is about the answer before', () => {
    const given = implicitReward(previous, next(), weights)
    expect(given && implicitRecord(given, { id: 'i1', tenant: 'acme', user: 'ann', ts: 3 }, 7)).toMatchObject({
      interaction: 'i1',
      kind: 'continuation',
      value: 0.2,
      weight: 0.1,
      ts: 7,
      askedAt: 3,
    })
  })
})
