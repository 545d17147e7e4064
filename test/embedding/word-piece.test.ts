import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { describe, expect, it } from 'vitest'
import { clipText } from '../../src/embedding/clip-text.ts'
import { type TokenizerFile, WordPiece } from '../../src/embedding/word-piece.ts'
import fc from '../support/properties.ts'
import { codePoints, EMBEDDER, goldenCases, randomTexts } from './golden.ts'

const file = JSON.parse(readFileSync(join(EMBEDDER, 'tokenizer.json'), 'utf8')) as TokenizerFile
const { max_chars } = JSON.parse(readFileSync(join(EMBEDDER, 'embedder.json'), 'utf8')) as {
  max_chars: { head: number; tail: number }
}
const own = new WordPiece(file)
const library = new Tokenizer(file, {})
const unknown = file.model.vocab[file.model.unk_token]!

const libraryIds = (text: string) => library.encode(text).ids.filter((id: number) => id !== unknown)

// The JavaScript library knows a newer Unicode than the Rust one, trips over rare ideographs, and lower-cases a whole
// text, so that a capital sigma depends on what is around it (Unicode 3.13, Final_Sigma): such characters are left out.
const words = fc.constantFrom(...Object.keys(file.model.vocab)).map((token) => token.replace(/^##/, ''))
const marks = fc.constantFrom('\u0301', '\u0308', '\u0323', '\u064b', '\u3099', ' ', '\n', '\t', '\u00a0', '\u3000', '')
const ranges: [number, number][] = [
  [0x20, 0x52f],
  [0x5d0, 0x6ff],
  [0x900, 0x9ff],
  [0xe01, 0xe5b],
  [0x1e00, 0x2bff],
  [0x3000, 0x33ff],
  [0x4e00, 0x4eff],
  [0xac00, 0xadff],
  [0xff00, 0xffef],
  [0x1f300, 0x1faff],
]
const characters = ranges
  .flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => String.fromCodePoint(first + i)))
  .filter((c) => c !== '\u03a3')
const agreed = characters.filter((c) => [...own.encode(`e${c}s ${c}`)].join() === libraryIds(`e${c}s ${c}`).join())
const prose = fc
  .array(fc.oneof({ weight: 3, arbitrary: words }, marks, fc.constantFrom(...agreed)), { maxLength: 60 })
  .map((p) => p.join(''))

describe('WordPiece', () => {
  it.each(goldenCases())('gives the ids of the Rust library: $name', ({ text, ids }) => {
    expect([...own.encode(clipText(text, max_chars))]).toEqual(ids)
  })

  it('gives the ids of the Rust library for every code point, inside a word and alone', () => {
    const { block, hashes } = codePoints
    const found = hashes.map((_, i) => {
      const codes = Array.from({ length: block }, (_, c) => i * block + c).filter((c) => c < 0xd800 || c > 0xdfff)
      const ids = own.encode(codes.map((c) => `e${String.fromCodePoint(c)}s ${String.fromCodePoint(c)}`).join(' '))
      return createHash('sha256').update(`[${ids.join()}]`).digest('hex').slice(0, 16)
    })
    expect(found).toEqual(hashes)
  })

  it('gives the ids of the Rust library for mixtures of all scripts', () => {
    for (const [text, ids] of randomTexts) expect([...own.encode(text)], JSON.stringify(text)).toEqual(ids)
  })

  it('gives the ids of the JavaScript library on any mixture of scripts, marks and symbols', () => {
    expect(agreed.length).toBeGreaterThan(0.95 * characters.length)
    fc.assert(
      fc.property(prose, (text) => {
        expect([...own.encode(text)]).toEqual(libraryIds(text))
      }),
      { numRuns: 2000 },
    )
  })

  it('takes any sequence of UTF-16 units', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const ids = [...own.encode(text)]
        expect(ids.every((id) => id > 0 && id < Object.keys(file.model.vocab).length)).toBe(true)
        expect([...own.encode(text)]).toEqual(ids)
      }),
    )
  })

  it('reads special tokens in a prompt as text', () => {
    const vocab = file.model.vocab
    expect([...own.encode('[UNK] [PAD]')]).toEqual(
      ['[', 'un', '##k', ']', '[', 'pad', ']'].map((token) => vocab[token]),
    )
  })

  it.each([
    ['normalizer', { ...file, normalizer: { ...file.normalizer, lowercase: false } }],
    ['pre-tokenizer', { ...file, pre_tokenizer: { type: 'Whitespace' } }],
    ['model', { ...file, model: { ...file.model, type: 'BPE' } }],
    ['added tokens', { ...file, added_tokens: [{ content: '[PAD]' }] }],
  ])('refuses a tokenizer with another %s', (what, other) => {
    expect(() => new WordPiece(other)).toThrow(what)
  })
})
