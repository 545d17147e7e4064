import { floatBytes, floatsOf } from '../bytes.ts'
import type { ScoredCandidate, ScoredCandidates } from './records.ts'

/** A candidate of an interaction as exported: `docs/records.md`. */
export interface CandidateDocument {
  name: string
  mean: number | null
  std: number | null
  predicted_cost_usd: number
  propensity: number
}

interface Score {
  candidate: { name: string }
  mean: number
  std: number
  costUsd: number
}

const BY_GRAPH = ['mean', 'std', 'predicted_cost_usd', 'propensity'] as const
const BY_FALLBACK = ['predicted_cost_usd', 'propensity'] as const

type Columns = ScoredCandidates['columns']

const isSame = (a: Columns, b: Columns) => a === b || (a.length === b.length && a.every((name, i) => name === b[i]))

/** In a row, the usual columns are told by their number. */
export const columnsCode = ({ columns }: ScoredCandidates): number | Columns =>
  [BY_GRAPH, BY_FALLBACK].find((usual) => isSame(usual, columns))?.length ?? columns

export const columnsOf = (code: number | Columns): Columns =>
  code === 4 ? BY_GRAPH : code === 2 ? BY_FALLBACK : (code as Columns)

/** Written to again and again: what is new is the text alone. */
const FLOATS = new Float32Array(1024)
const BYTES = floatBytes(FLOATS)

/** @param byGraph false: a fallback router ranked, whose means are no expected rewards */
export function scoredCandidates(
  scored: readonly Score[],
  propensities: readonly number[],
  byGraph: boolean,
): ScoredCandidates {
  const columns = byGraph ? BY_GRAPH : BY_FALLBACK
  const m = scored.length
  const length = columns.length * m
  const floats = length <= FLOATS.length ? FLOATS : new Float32Array(length)
  const rest = byGraph ? 2 * m : 0
  for (let i = 0; i < m; i++) {
    const score = scored[i] as Score
    if (byGraph) {
      floats[i] = score.mean
      floats[m + i] = score.std
    }
    floats[rest + i] = score.costUsd
    floats[rest + m + i] = propensities[i] ?? 0
  }
  return { names: namesOf(scored), columns, float32: base64(floats, length) }
}

const base64 = (floats: Float32Array, length = floats.length) =>
  (floats === FLOATS ? BYTES : floatBytes(floats)).toString('base64', 0, 4 * length)

/** Most requests are about the same candidates as the one before: they share one list, and its text. */
let latest: readonly string[] = []
let written: Pick<ScoredCandidates, 'names' | 'columns'> & { json: string } = { names: [], columns: [], json: '' }

function namesOf(scored: readonly Score[]): readonly string[] {
  if (latest.length !== scored.length || !latest.every((name, i) => name === scored[i]?.candidate.name)) {
    latest = scored.map(({ candidate }) => candidate.name)
  }
  return latest
}

/** As stored. */
export function candidatesJson({ names, columns, float32 }: ScoredCandidates): string {
  if (written.names !== names || written.columns !== columns) {
    written = { names, columns, json: JSON.stringify({ names, columns }).slice(0, -1) }
  }
  return `${written.json},"float32":"${float32}"}`
}

/**
 * From what was stored, or exported (earlier versions stored that).
 *
 * @throws Error where it is not one number a column and name
 */
export function readCandidates(document: ScoredCandidates | CandidateDocument[]): ScoredCandidates {
  if (Array.isArray(document)) return tableOf(document)
  const { names, columns, float32 } = document
  const bytes = 4 * names.length * columns.length
  const isWhole = float32.length === 4 * Math.ceil(bytes / 3) && Buffer.byteLength(float32, 'base64') === bytes
  if (!isWhole || !/^[A-Za-z0-9+/]*={0,2}$/.test(float32)) {
    throw new Error(`float32: ${float32.length} characters for ${columns.length} columns of ${names.length} numbers`)
  }
  return { names, columns, float32 }
}

function tableOf(documents: readonly CandidateDocument[]): ScoredCandidates {
  const isRanked = documents.some(({ mean, std }) => mean !== null || std !== null)
  const columns = isRanked || documents.length === 0 ? BY_GRAPH : BY_FALLBACK
  return {
    names: documents.map(({ name }) => name),
    columns,
    float32: base64(Float32Array.from(columns.flatMap((column) => documents.map((one) => one[column] ?? Number.NaN)))),
  }
}

/** One by one, in decimals that tell a float32 from its neighbours. */
export const eachCandidate = (candidates: ScoredCandidates): ScoredCandidate[] =>
  eachOf(candidates, (name, mean, std, predictedCostUsd, propensity) => ({
    name,
    mean,
    std,
    predictedCostUsd,
    propensity,
  }))

/** As exported. */
export const candidateDocuments = (candidates: ScoredCandidates): CandidateDocument[] =>
  eachOf(candidates, (name, mean, std, predicted_cost_usd, propensity) => ({
    name,
    mean,
    std,
    predicted_cost_usd,
    propensity,
  }))

type Numbers = [name: string, mean: number | null, std: number | null, costUsd: number, propensity: number]

function eachOf<T>({ names, columns, float32 }: ScoredCandidates, make: (...numbers: Numbers) => T): T[] {
  const floats = floatsOf(Buffer.from(float32, 'base64'))
  const [mean, std, costUsd, propensity] = BY_GRAPH.map((column) => {
    const at = columns.indexOf(column)
    return at < 0 ? -1 : at * names.length
  }) as [number, number, number, number]
  const read = (start: number, i: number) => (start < 0 ? Number.NaN : shortest(floats[start + i] as number))
  return names.map((name, i) =>
    make(name, orNull(read(mean, i)), orNull(read(std, i)), read(costUsd, i), read(propensity, i)),
  )
}

const orNull = (value: number) => (Number.isNaN(value) ? null : value)

/** Powers of ten that a double holds exactly: what is divided by one is the decimal, rounded as its text would be. */
const TENS = Array.from({ length: 23 }, (_, i) => Number(`1e${i}`))

/** Nine digits tell every float32 from every other; most need fewer. */
function shortest(float32: number): number {
  if (float32 === 0) return 0
  const whole = Math.floor(Math.log10(Math.abs(float32)))
  for (let digits = 6; digits < 9; digits++) {
    const ten = TENS[digits - 1 - whole]
    const decimal = ten === undefined ? Number(float32.toPrecision(digits)) : Math.round(float32 * ten) / ten
    if (Math.fround(decimal) === float32) return decimal
  }
  return Number(float32.toPrecision(9))
}
