import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clipText } from '../../src/embedding/clip-text.ts'
import { EmbedderError } from '../../src/embedding/embedder.ts'
import { StaticEmbedder } from '../../src/embedding/static-embedder.ts'
import { VectorSum } from '../../src/embedding/vector-sum.ts'
import { expectClose } from '../support/close.ts'
import fc from '../support/properties.ts'
import { cosine, EMBEDDER, goldenCases } from './golden.ts'

let embedder: StaticEmbedder
beforeAll(async () => {
  embedder = await StaticEmbedder.load(EMBEDDER)
})

describe('StaticEmbedder', () => {
  it.each(goldenCases())('gives the vector of Python: $name', ({ text, vector }) => {
    const own = embedder.embed(text)
    expect(own).toHaveLength(embedder.dim)
    expect(cosine(own, vector)).toBeGreaterThan(0.9999)
    expectClose(own, vector)
  })

  it('gives finite vectors, the same each time, for any UTF-16', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (text) => {
        const vector = embedder.embed(text)
        expect(vector.every(Number.isFinite)).toBe(true)
        expect(embedder.embed(text)).toEqual(vector)
      }),
    )
  })

  it('hands out a fresh vector each time', () => {
    const first = embedder.embed('one text')
    const copy = first.slice()
    embedder.embed('quite another text')
    expect(first).toEqual(copy)
  })

  it('tells kin from stranger', () => {
    const [question, kin, stranger] = [
      'What is the capital of France?',
      'Which city is the capital of Italy?',
      'def f(x): return x',
    ].map((text) => embedder.embed(text))
    expect(cosine(question!, kin!)).toBeGreaterThan(cosine(question!, stranger!) + 0.2)
  })

  it('reads no more of a long text than its limit', () => {
    const [head, tail] = ['a '.repeat(768), ' b'.repeat(256)]
    const same = [1e4, 1e5].map((n) => embedder.embed(head + 'zebra '.repeat(n) + tail).subarray(0, 240))
    expect(same[0]).toEqual(same[1])
  })
})

describe('a broken embedder folder is refused', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'embedder-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const edits: [string, string, (text: Buffer) => string | Buffer, RegExp][] = [
    ['a cut table', 'vectors.bin', (file) => file.subarray(0, -1), /vectors\.bin has \d+ bytes/],
    [
      'a scale that is not a number',
      'vectors.bin',
      (file) => Buffer.concat([Buffer.alloc(4, 0xff), file.subarray(4)]),
      /bad scale/,
    ],
    ['another schema', 'embedder.json', (file) => file.toString().replace('embedder/1', 'embedder/9'), /schema/],
    [
      'a path for a file name',
      'embedder.json',
      (file) => file.toString().replace('vectors.bin', '../vectors.bin'),
      /vectors/,
    ],
    ['an unknown feature', 'embedder.json', (file) => file.toString().replace('"latex"', '"mood"'), /features/],
    ['no JSON', 'tokenizer.json', () => '{', /JSON/],
    ['a lost token', 'tokenizer.json', (file) => file.toString().replace(/"!":\d+,\n/, ''), /tokens/],
  ]
  it.each(edits)('%s', async (_, name, edit, message) => {
    await cp(EMBEDDER, folder, { recursive: true })
    await writeFile(join(folder, name), edit(await readFile(join(EMBEDDER, name))))
    const loading = StaticEmbedder.load(folder)
    await expect(loading).rejects.toThrow(message)
    await expect(loading).rejects.toBeInstanceOf(EmbedderError)
  })

  it('a folder that is not there', async () => {
    await expect(StaticEmbedder.load(join(folder, 'nowhere'))).rejects.toMatchObject({ reason: 'load' })
  })
})

describe('VectorSum', () => {
  it('equals adding up one by one, for any number of rows and columns', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 700 }),
        fc.int8Array({ minLength: 36, maxLength: 36 }),
        (columns, ids, values) => {
          const rows = values.subarray(0, 4 * columns)
          const wanted = Array.from({ length: columns }, (_, c) =>
            ids.reduce((sum, id) => sum + rows[id * columns + c]!, 0),
          )
          expect([...new VectorSum(rows, columns).sum(Int32Array.from(ids))]).toEqual(wanted)
        },
      ),
    )
  })

  it('does not overflow at the extremes', () => {
    const ids = new Int32Array(5000)
    expect([...new VectorSum(new Int8Array(5).fill(127), 5).sum(ids)]).toEqual(Array(5).fill(127 * 5000))
    expect([...new VectorSum(new Int8Array(5).fill(-128), 5).sum(ids)]).toEqual(Array(5).fill(-128 * 5000))
  })
})

describe('clipText', () => {
  it('keeps what has no more code points than the limit, and cuts no pair', () => {
    const limit = { head: 5, tail: 3 }
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
        const points = [...text]
        const wanted = points.length <= 8 ? text : `${points.slice(0, 5).join('')}\n${points.slice(-3).join('')}`
        expect(clipText(text, limit)).toBe(wanted)
      }),
      { numRuns: 1000 },
    )
  })
})
