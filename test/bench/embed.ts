/**
 * What an embedding costs on one core, with the committed static embedder:
 *
 *     node test/bench/embed.ts [folder of an embedder, static or minilm]
 *
 * CPU time of the whole process, best of several rounds: other work on the machine only ever adds.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Tokenizer } from '@huggingface/tokenizers'
import { MinilmEmbedder } from '../../src/embedding/minilm-embedder.ts'
import { StaticEmbedder } from '../../src/embedding/static-embedder.ts'
import { VectorSum } from '../../src/embedding/vector-sum.ts'
import { type TokenizerFile, WordPiece } from '../../src/embedding/word-piece.ts'

const STATIC = fileURLToPath(new URL('../../router-model/embedders/static-2', import.meta.url))
const folder = process.argv[2] ?? STATIC
const QUESTION =
  'Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did ' +
  'Natalia sell altogether in April and May? Explain each of the steps that you take, and give the final answer as a ' +
  'number on the last line. Say also whether the number is even or odd, and why that would matter to a shop keeper. Be brief.'

const TEXTS: Record<string, string> = {
  '20 characters': QUESTION.slice(0, 20),
  '340 characters': QUESTION.slice(0, 340),
  '2,000 characters': QUESTION.repeat(6).slice(0, 2000),
  '100 KB': QUESTION.repeat(300).slice(0, 100_000),
  '340 characters of Russian': 'Какая столица России? '.repeat(16).slice(0, 340),
  '340 characters of Chinese': '法国的首都是哪里？请用三句话回答。'.repeat(20).slice(0, 340),
}

const cpuUs = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function measure(name: string, task: () => unknown, runs = 2000, rounds = 15): Promise<void> {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const before = cpuUs()
    for (let i = 0; i < runs; i++) {
      const result = task()
      if (result instanceof Promise) await result
    }
    best = Math.min(best, (cpuUs() - before) / runs)
  }
  console.log(`${name.padEnd(64)} ${best.toFixed(best < 100 ? 1 : 0)} us`)
}

const kind = (JSON.parse(readFileSync(join(folder, 'embedder.json'), 'utf8')) as { kind: string }).kind
if (kind === 'minilm') {
  const embedder = await MinilmEmbedder.load(folder)
  for (const [name, text] of Object.entries(TEXTS)) {
    await measure(`${embedder.version}, ${name}`, () => embedder.embed(text), 10, 5)
  }
  await embedder.close()
} else {
  const embedder = await StaticEmbedder.load(folder)
  for (const [name, text] of Object.entries(TEXTS))
    await measure(`${embedder.version}, ${name}`, () => embedder.embed(text))
  await measureSteps()
}

/** The steps of one question, beside what they replaced. */
async function measureSteps(): Promise<void> {
  const question = TEXTS['340 characters']!
  const file = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')) as TokenizerFile
  const { rows, columns } = JSON.parse(readFileSync(join(folder, 'embedder.json'), 'utf8')) as {
    rows: number
    columns: number
  }
  const wordPiece = new WordPiece(file)
  const library = new Tokenizer(file, {})
  await measure('tokens: own WordPiece', () => wordPiece.encode(question))
  await measure('tokens: @huggingface/tokenizers', () => library.encode(question), 500)
  const table = new Int8Array(readFileSync(join(folder, 'vectors.bin')).buffer, 4 * columns, rows * columns)
  const ids = wordPiece.encode(question).slice()
  const packed = new VectorSum(table, columns)
  await measure(`sum of ${ids.length} rows: four columns to a word`, () => packed.sum(ids))
  const sums = new Int32Array(columns)
  await measure(`sum of ${ids.length} rows: one column at a time`, () => {
    sums.fill(0)
    for (const id of ids) for (let i = 0; i < columns; i++) sums[i]! += table[id * columns + i]!
  })
}
