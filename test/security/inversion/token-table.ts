import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { WordPiece } from '../../../src/embedding/word-piece.ts'
import type { Dictionary } from './matching-pursuit.ts'

/** The table that ships with the product: what whoever gets hold of a vector has, too. */
export interface TokenTable extends Dictionary {
  /** Rows of the tokens of a text. */
  words: (text: string) => Set<number>
}

/** @param folder an artifact's `embedder/` */
export function readTokenTable(folder: string): TokenTable {
  const spec = JSON.parse(readFileSync(join(folder, 'embedder.json'), 'utf8'))
  const tokenizer = new WordPiece(JSON.parse(readFileSync(join(folder, spec.tokenizer), 'utf8')))
  const file = readFileSync(join(folder, spec.vectors))
  const width: number = spec.columns
  const rows = new Float32Array(spec.rows * width)
  for (let at = 0; at < rows.length; at++) rows[at] = file.readInt8(4 * width + at) * file.readFloatLE(4 * (at % width))
  return { rows, width, words: (text) => new Set(tokenizer.encode(text)) }
}
