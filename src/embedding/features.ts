/** Text features after the token vectors' mean: clip((x - mean) / std, -clip, clip) x gain, in the order of `list`. */
export interface FeatureSpec {
  clip: number
  gain: number
  list: readonly { name: string; mean: number; std: number }[]
}

/** Bits of a code unit's kind; see `router_model/embedding/features.py`, which counts the same. */
const UPPER = 1
const LETTER = 2
const DIGIT = 4
const SPACE = 8
const STOP = 16
const CODE = 32
const OPERATOR = 64
const OPTION = 128

const KINDS = kinds()
const LINE_FEED = 10
const CARRIAGE_RETURN = 13

/** Order of `FEATURES` in Python. */
export const FEATURE_NAMES: readonly string[] = [
  'length',
  'lines',
  'upper',
  'space',
  'stops',
  'code',
  'latex',
  'dollars',
  'questions',
  'ends_question',
  'non_ascii',
  'options',
  'indent',
  'lower_start',
  'numbers',
  'operators',
]

/**
 * Writes the features of a text to `out` from `offset` on; `clipped` is what is read, `units` the whole text's length.
 */
export function writeFeatures(
  clipped: string,
  units: number,
  spec: FeatureSpec,
  out: Float32Array,
  offset: number,
): void {
  const raw = rawFeatures(clipped, units)
  for (let i = 0; i < raw.length; i++) {
    const { mean, std } = spec.list[i]!
    const standard = (raw[i]! - mean) / std
    out[offset + i] = Math.max(-spec.clip, Math.min(spec.clip, standard)) * spec.gain
  }
}

function rawFeatures(text: string, units: number): number[] {
  const n = text.length
  let lines = 0
  let upper = 0
  let space = 0
  let stops = 0
  let code = 0
  let latex = 0
  let dollars = 0
  let questions = 0
  let nonAscii = 0
  let options = 0
  let indent = 0
  let numbers = 0
  let operators = 0
  let before = LINE_FEED
  let beforeKind = 0
  let lastVisible = 0
  for (let i = 0; i < n; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 127) {
      nonAscii++
      lastVisible = unit
      before = unit
      beforeKind = 0
      continue
    }
    const kind = KINDS[unit]!
    if (kind & SPACE) {
      space++
      if (before === LINE_FEED && unit !== LINE_FEED && i > 0) indent++
      if (unit === LINE_FEED) lines++
    } else {
      if (unit !== CARRIAGE_RETURN) lastVisible = unit
      if (kind & LETTER) {
        if (kind & UPPER) upper++
        if (before === 92 /* \ */) latex++
      } else if (kind & DIGIT) {
        if (!(beforeKind & DIGIT)) numbers++
      } else {
        if (kind & STOP) stops++
        if (kind & CODE) code++
        if (kind & OPERATOR) operators++
        if (unit === 36 /* $ */) dollars++
        else if (unit === 63 /* ? */) questions++
      }
      if (before === LINE_FEED && startsOption(text, i, unit, kind)) options++
    }
    before = unit
    beforeKind = kind
  }
  const share = 1 / Math.max(n, 1)
  const first = n > 0 ? text.charCodeAt(0) : 0
  return [
    Math.log1p(units),
    Math.log1p(lines),
    upper * share,
    space * share,
    stops * share,
    Math.log1p(code),
    Math.log1p(latex),
    Math.log1p(dollars),
    Math.log1p(questions),
    lastVisible === 63 ? 1 : 0,
    nonAscii * share,
    Math.log1p(options),
    Math.log1p(indent),
    first >= 97 && first <= 122 ? 1 : 0,
    Math.log1p(numbers),
    Math.log1p(operators),
  ]
}

/** `A.` `b)` `C:` or `(d)`, letters A-J. */
function startsOption(text: string, at: number, unit: number, kind: number): boolean {
  if (kind & OPTION) {
    const next = text.charCodeAt(at + 1)
    return next === 46 || next === 41 || next === 58
  }
  if (unit !== 40 || text.charCodeAt(at + 2) !== 41) return false
  const letter = text.charCodeAt(at + 1)
  return letter < 128 && (KINDS[letter]! & OPTION) !== 0
}

function kinds(): Uint8Array {
  const table = new Uint8Array(128)
  const mark = (characters: string, bits: number) => {
    for (const c of characters) table[c.charCodeAt(0)]! |= bits
  }
  mark('ABCDEFGHIJKLMNOPQRSTUVWXYZ', UPPER | LETTER)
  mark('abcdefghijklmnopqrstuvwxyz', LETTER)
  mark('ABCDEFGHIJabcdefghij', OPTION)
  mark('0123456789', DIGIT)
  mark(' \t\n', SPACE)
  mark(".,;:!'", STOP)
  mark('{}[];=<>_', CODE)
  mark('+-*/^=', OPERATOR)
  return table
}
