import { PUNCTUATION, REMOVED } from './character-classes.ts'

/** The parts of a Hugging Face `tokenizer.json` that are read. */
export interface TokenizerFile {
  normalizer: {
    type: string
    clean_text?: boolean
    handle_chinese_chars?: boolean
    strip_accents?: boolean | null
    lowercase?: boolean
  }
  pre_tokenizer: { type: string }
  added_tokens?: readonly unknown[]
  model: {
    type: string
    unk_token: string
    continuing_subword_prefix: string
    max_input_chars_per_word: number
    vocab: Record<string, number>
  }
}

const SKIP = 0
const SPACE = 1
const MARK = 2
const WORD = 3

const NONE = -1
const MAX_REMEMBERED = 65_536

/**
 * BERT's uncased WordPiece (Devlin et al. 2019), the ids that the `tokenizers` library gives, in one pass and without a
 * string a word. Not the library itself: it takes 13 times as long (`docs/embedding.md`). Unknown words give no id,
 * unless `keepUnknown`.
 */
export class WordPiece {
  readonly #trie: Trie
  readonly #maxWordChars: number
  /** Normalised code points of a code point above ASCII. */
  readonly #normalised = new Map<number, readonly number[]>()
  readonly #ascii = asciiKinds()
  readonly #removed = new Ranges(REMOVED)
  readonly #punctuation = new Ranges(PUNCTUATION)
  /** The word so far, as UTF-16 units; longer ones than fit are unknown anyway. */
  readonly #word: Uint16Array
  #units = 0
  #chars = 0
  #ids = new Int32Array(1024)
  #count = 0

  readonly #unknown: number

  /** Throws an Error that names what is not supported. */
  constructor(file: TokenizerFile, { keepUnknown = false }: { keepUnknown?: boolean } = {}) {
    assertSupported(file)
    this.#unknown = keepUnknown ? file.model.vocab[file.model.unk_token]! : NONE
    this.#maxWordChars = file.model.max_input_chars_per_word
    this.#word = new Uint16Array(2 * this.#maxWordChars)
    this.#trie = new Trie(file.model.vocab, file.model.continuing_subword_prefix, file.model.unk_token)
  }

  /** Ids of the known tokens: a view that the next call overwrites. */
  encode(text: string): Int32Array {
    this.#count = 0
    const ascii = this.#ascii
    for (let i = 0; i < text.length; i++) {
      let code = text.charCodeAt(i)
      if (code > 127) {
        if ((code & 0xf800) === 0xd800) {
          code = text.codePointAt(i)!
          if (code < 0x10000) continue // a lone surrogate: U+FFFD elsewhere, and that is removed
          i++
        }
        for (const c of this.#normalise(code)) this.#push(c)
        continue
      }
      const kind = ascii[code]!
      if (kind === WORD) this.#extend(code >= 65 && code <= 90 ? code + 32 : code)
      else if (kind !== SKIP) this.#separate(kind, code)
    }
    this.#endWord()
    return this.#ids.subarray(0, this.#count)
  }

  #push(code: number): void {
    const kind = code < 128 ? this.#ascii[code]! : this.#punctuation.has(code) ? MARK : WORD
    if (kind === WORD) this.#extend(code)
    else this.#separate(kind, code)
  }

  #separate(kind: number, code: number): void {
    this.#endWord()
    if (kind !== MARK) return
    this.#extend(code)
    this.#endWord()
  }

  #extend(code: number): void {
    if (++this.#chars > this.#maxWordChars) return
    if (code < 0x10000) this.#word[this.#units++] = code
    else {
      this.#word[this.#units++] = 0xd800 + ((code - 0x10000) >> 10)
      this.#word[this.#units++] = 0xdc00 + ((code - 0x10000) & 0x3ff)
    }
  }

  /** Longest match first, over and over; a word that is not covered whole gives nothing. */
  #endWord(): void {
    const units = this.#units
    const known = this.#chars <= this.#maxWordChars
    this.#units = 0
    this.#chars = 0
    if (units === 0) return
    if (this.#count + units > this.#ids.length) this.#grow()
    const before = this.#count
    if (!known) {
      this.#giveUp(before)
      return
    }
    for (let at = 0, root = this.#trie.wordRoot; at < units; root = this.#trie.pieceRoot) {
      let node = root
      let end = NONE
      let id = NONE
      for (let i = at; i < units; i++) {
        node = this.#trie.child(node, this.#word[i]!)
        if (node === NONE) break
        const found = this.#trie.id(node)
        if (found !== NONE) {
          id = found
          end = i + 1
        }
      }
      if (end === NONE) {
        this.#giveUp(before)
        return
      }
      this.#ids[this.#count++] = id
      at = end
    }
  }

  #giveUp(before: number): void {
    this.#count = before
    if (this.#unknown !== NONE) this.#ids[this.#count++] = this.#unknown
  }

  #grow(): void {
    const larger = new Int32Array(this.#ids.length * 2)
    larger.set(this.#ids)
    this.#ids = larger
  }

  #normalise(code: number): readonly number[] {
    let known = this.#normalised.get(code)
    if (known === undefined) {
      if (this.#normalised.size >= MAX_REMEMBERED) this.#normalised.clear()
      known = this.#normaliseAfresh(code)
      this.#normalised.set(code, known)
    }
    return known
  }

  /** Clean, set ideographs apart, decompose, drop accents, lower-case by code point: the order of the library. */
  #normaliseAfresh(code: number): readonly number[] {
    if (this.#removed.has(code)) return []
    const character = String.fromCodePoint(code)
    if (/\p{White_Space}/u.test(character)) return [32]
    const out: number[] = []
    for (const part of character.normalize('NFD')) {
      if (this.#removed.has(part.codePointAt(0)!)) continue
      for (const lower of part.toLowerCase()) out.push(lower.codePointAt(0)!)
    }
    return isIdeograph(code) ? [32, ...out, 32] : out
  }
}

/** Sorted ranges of code points. */
class Ranges {
  readonly #ends: readonly number[]

  constructor(ends: readonly number[]) {
    this.#ends = ends
  }

  has(code: number): boolean {
    let low = 0
    let high = this.#ends.length / 2 - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      if (code < this.#ends[2 * middle]!) high = middle - 1
      else if (code > this.#ends[2 * middle + 1]!) low = middle + 1
      else return true
    }
    return false
  }
}

/** The vocabulary as a tree of UTF-16 units; edges in one open-addressed hash table of typed arrays. */
class Trie {
  readonly wordRoot = 0
  readonly pieceRoot = 1
  readonly #mask: number
  /** Of each slot: parent node x 65536 + unit, then the child. */
  readonly #keys: Float64Array
  readonly #children: Int32Array
  readonly #ids: Int32Array

  constructor(vocab: Record<string, number>, prefix: string, unknown: string) {
    const tokens = Object.entries(vocab).filter(([token]) => token !== unknown)
    const edges = tokens.reduce((sum, [token]) => sum + token.length, 0)
    const slots = 2 ** Math.ceil(Math.log2(edges * 2 + 2))
    this.#mask = slots - 1
    this.#keys = new Float64Array(slots).fill(NONE)
    this.#children = new Int32Array(slots)
    this.#ids = new Int32Array(edges + 2).fill(NONE)
    let nodes = 2
    for (const [token, id] of tokens) {
      const piece = token.startsWith(prefix) && token.length > prefix.length
      let node: number = piece ? this.pieceRoot : this.wordRoot
      for (let i = piece ? prefix.length : 0; i < token.length; i++) {
        const unit = token.charCodeAt(i)
        const slot = this.#slot(node, unit)
        if (this.#keys[slot] === NONE) {
          this.#keys[slot] = node * 65_536 + unit
          this.#children[slot] = nodes++
        }
        node = this.#children[slot]!
      }
      this.#ids[node] = id
    }
  }

  child(node: number, unit: number): number {
    const slot = this.#slot(node, unit)
    return this.#keys[slot] === NONE ? NONE : this.#children[slot]!
  }

  id(node: number): number {
    return this.#ids[node]!
  }

  /** Where this edge is, or would be. */
  #slot(node: number, unit: number): number {
    const key = node * 65_536 + unit
    let slot = (Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>> 7
    for (slot &= this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = this.#keys[slot]
      if (found === key || found === NONE) return slot
    }
  }
}

function asciiKinds(): Uint8Array {
  const table = new Uint8Array(128)
  for (let code = 33; code < 127; code++) table[code] = /[0-9A-Za-z]/.test(String.fromCharCode(code)) ? WORD : MARK
  for (const code of [9, 10, 13, 32]) table[code] = SPACE
  return table
}

/** The blocks that BERT calls Chinese characters. */
function isIdeograph(code: number): boolean {
  return (
    (code >= 0x4e00 && code <= 0x9fff) ||
    (code >= 0x3400 && code <= 0x4dbf) ||
    (code >= 0x20000 && code <= 0x2a6df) ||
    (code >= 0x2a700 && code <= 0x2b73f) ||
    (code >= 0x2b740 && code <= 0x2b81f) ||
    (code >= 0x2b920 && code <= 0x2ceaf) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0x2f800 && code <= 0x2fa1f)
  )
}

function assertSupported({ normalizer, pre_tokenizer, added_tokens, model }: TokenizerFile): void {
  const bert =
    normalizer?.type === 'BertNormalizer' &&
    normalizer.lowercase === true &&
    normalizer.clean_text !== false &&
    normalizer.handle_chinese_chars !== false &&
    normalizer.strip_accents !== false
  if (!bert) throw new Error('tokenizer: the normalizer must be BERT, uncased')
  if (pre_tokenizer?.type !== 'BertPreTokenizer')
    throw new Error('tokenizer: the pre-tokenizer must be BertPreTokenizer')
  if (model?.type !== 'WordPiece') throw new Error('tokenizer: the model must be WordPiece')
  if (added_tokens && added_tokens.length > 0) throw new Error('tokenizer: added tokens are not supported')
}
