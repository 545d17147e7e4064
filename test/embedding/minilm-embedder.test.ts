import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MinilmEmbedder } from '../../src/embedding/minilm-embedder.ts'
import { cosine, goldenCases, PYTHON, PYTHON_ROOT } from './golden.ts'

/** Makes the export in a temporary folder; with it, what Python embeds. The weights come from an installed package. */
function exportMinilm(folder: string): string | null {
  if (!existsSync(PYTHON)) return `no Python environment at ${PYTHON}: run npm test once`
  const script = join(folder, 'export.py')
  writeFileSync(script, EXPORT)
  try {
    execFileSync(PYTHON, [script, folder], {
      cwd: PYTHON_ROOT,
      env: { ...process.env, PYTHONPATH: PYTHON_ROOT },
      stdio: 'pipe',
    })
    return null
  } catch (error) {
    const stderr = String((error as { stderr?: unknown }).stderr)
    if (/ModuleNotFoundError/.test(stderr))
      return `the distil extra is not installed: ${stderr.trim().split('\n').at(-1)}`
    throw error
  }
}

const EXPORT = `
import json, sys
from router_model.embedding.golden import TEXTS
from router_model.embedding.minilm import MinilmEmbedder, export_minilm
export_minilm(sys.argv[1])
vectors = MinilmEmbedder.load(sys.argv[1]).embed(list(TEXTS.values()))
json.dump({name: vector.tolist() for name, vector in zip(TEXTS, vectors)}, open(sys.argv[1] + '/golden.json', 'w'))
`

const folder = mkdtempSync(join(tmpdir(), 'minilm-'))
const missing = exportMinilm(folder)
if (missing) console.warn(`SKIPPED: the MiniLM embedder is not tested: ${missing}`)
afterAll(() => rmSync(folder, { recursive: true }))

describe.skipIf(missing !== null)('MinilmEmbedder', () => {
  let embedder: MinilmEmbedder
  let golden: Record<string, number[]>
  beforeAll(async () => {
    embedder = await MinilmEmbedder.load(folder, { maxQueue: 50 })
    golden = (await import(join(folder, 'golden.json'), { with: { type: 'json' } })).default
  })
  afterAll(() => embedder.close())

  it.each(goldenCases())('gives the vector of Python: $name', async ({ name, text }) => {
    const vector = await embedder.embed(text)
    expect(vector).toHaveLength(embedder.dim)
    expect(cosine(vector, Float32Array.from(golden[name]!))).toBeGreaterThan(0.9999)
  })

  it('leaves the event loop free while it works', async () => {
    let turns = 0
    const ticking = setInterval(() => turns++, 1)
    await Promise.all(Array.from({ length: 20 }, (_, i) => embedder.embed(`${i} ${'many words '.repeat(100)}`)))
    clearInterval(ticking)
    expect(turns).toBeGreaterThan(20)
  })

  it('refuses what is more than its queue, and goes on', async () => {
    const all = await Promise.allSettled(Array.from({ length: 60 }, (_, i) => embedder.embed(`text ${i}`)))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(50)
    expect(all.at(-1)).toMatchObject({ reason: { name: 'EmbedderError', reason: 'overload' } })
    expect(await embedder.embed('after that')).toHaveLength(embedder.dim)
  })

  it('rejects what waits when it is closed, and what comes after', async () => {
    const short = await MinilmEmbedder.load(folder)
    const waiting = short.embed('waits')
    await Promise.all([expect(waiting).rejects.toMatchObject({ reason: 'closed' }), short.close()])
    await expect(short.embed('too late')).rejects.toMatchObject({ reason: 'closed' })
  })

  it('says that a broken model is broken', async () => {
    writeFileSync(join(folder, 'model.onnx'), 'no graph')
    await expect(MinilmEmbedder.load(folder)).rejects.toMatchObject({ name: 'EmbedderError', reason: 'load' })
  })
})

describe('MinilmEmbedder without a model', () => {
  it('says that there is none', async () => {
    await expect(MinilmEmbedder.load(join(folder, 'nowhere'))).rejects.toMatchObject({ reason: 'load' })
  })
})
