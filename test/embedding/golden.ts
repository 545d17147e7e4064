import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (relative: string) => fileURLToPath(new URL(`../../${relative}`, import.meta.url))

export const EMBEDDER = path('router-model/embedders/static-2')

export const ARTIFACT = path('router-model/artifacts/current')
export const PYTHON_ROOT = path('router-model')
export const PYTHON = path('router-model/.venv/bin/python')

export interface GoldenCase {
  name: string
  text: string
  ids: number[]
  vector: Float32Array
}

/** What Python embeds, and how: written by `python -m router_model.embedding.golden`. */
const file = JSON.parse(readFileSync(path('test/fixtures/embedding/golden.json'), 'utf8')) as {
  cases: { name: string; text: (string | [string, number])[]; ids: number[]; vector: string }[]
  /** Of every block of code points: a hash of their ids. */
  code_points: { block: number; hashes: string[] }
  random: [text: string, ids: number[]][]
}

export const { code_points: codePoints, random: randomTexts } = file

export function goldenCases(): GoldenCase[] {
  return file.cases.map(({ name, text, ids, vector }) => ({
    name,
    ids,
    text: text.map((part) => (typeof part === 'string' ? part : part[0].repeat(part[1]))).join(''),
    vector: new Float32Array(new Uint8Array(Buffer.from(vector, 'base64')).buffer),
  }))
}

export function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!
    aa += a[i]! ** 2
    bb += b[i]! ** 2
  }
  return dot / Math.sqrt(aa * bb)
}
