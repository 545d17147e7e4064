import { hash } from 'node:crypto'
import type { RowForm } from './row.ts'

/**
 * What a row has in common with many others of its tenant, kept once for all of them: the values of `SharedForm.shared`
 * as a list in JSON. Its name is a hash of it, so that every replica gives it the same.
 */
export interface Shared {
  id: string
  json: string
}

export interface SharedForm extends Pick<RowForm, 'names'> {
  /** Names of what is shared. Of candidates their names and columns are. It can't change: rows are read by it. */
  shared: readonly string[]
}

type Values = unknown[]

const ID_CHARS = 8
const MAX_KNOWN = 1_024

/** By what was shared: most rows share the same as one before them. */
const known = new Map<string, Shared>()

function sharedBy(json: string): Shared {
  let shared = known.get(json)
  if (!shared) {
    if (known.size >= MAX_KNOWN) known.clear()
    shared = { id: hash('sha1', json, 'base64url').slice(0, ID_CHARS), json }
    known.set(json, shared)
  }
  return shared
}

/** Of a row that shares something: the name of what it shares stands in a list where the tenant would. */
export const sharedIdOf = (row: readonly unknown[]): string | null =>
  Array.isArray(row[1]) ? (row[1][0] as string) : null

/** A row that shares what it can. */
export interface SharingRow {
  row: Values
  /** Its numbers: of the candidates (float32, as in their table), then scale (float64) and int8 of the reading. */
  bytes: Buffer
  shared: Shared
}

/** @returns makes of a row (`rowForm`) one that shares what it can, and the other way round */
export function sharing({ names, shared }: SharedForm): {
  shorten: (row: Values) => SharingRow
  lengthen: (row: readonly unknown[], bytes: Buffer, shared: string) => Values
} {
  const at = (name: string) => names.indexOf(name)
  const [tenant, candidates, reading, chosen, attempts] = NAMED.map(at) as At
  const places = shared.map(at)
  let latest: Latest | undefined
  return {
    shorten(row) {
      const [of, columns, numbers] = row[candidates] as [string[], unknown, string]
      const values = places.map((i) => (i === candidates ? of : row[i]))
      // Most rows share the same as the one before.
      if (latest === undefined || latest.columns !== columns || !isSame(values, latest.values)) {
        const json = JSON.stringify(places.map((i) => (i === candidates ? [of, columns] : (row[i] ?? null))))
        latest = { values, columns, common: sharedBy(json) }
      }
      const { common } = latest
      const read = isReading(row[reading]) ? row[reading] : null
      for (const i of places) if (i < row.length) row[i] = 0
      row[tenant] = [common.id]
      row[chosen] = placeIn(of, row[chosen])
      for (const attempt of row[attempts] as Values[]) attempt[0] = placeIn(of, attempt[0])
      if (read) row[reading] = 0
      return { row, bytes: bytesOf(numbers, read), shared: common }
    },
    lengthen(row, bytes, json) {
      const common = JSON.parse(json) as Values
      const whole = [...row]
      for (const [i, place] of places.entries()) whole[place] = common[i]
      const [of, columns] = whole[candidates] as [string[], number | unknown[]]
      const numbers = 4 * of.length * (typeof columns === 'number' ? columns : columns.length)
      if (bytes.length < numbers) throw new Error(`${bytes.length} bytes beside a row, not ${numbers}`)
      whole[candidates] = [of, columns, bytes.toString('base64', 0, numbers)]
      if (row[reading] === 0) {
        whole[reading] = [bytes.toString('base64', numbers + SCALE_BYTES), bytes.readDoubleLE(numbers)]
      }
      whole[chosen] = nameIn(of, row[chosen])
      whole[attempts] = (row[attempts] as Values[]).map(([name, ...rest]) => [nameIn(of, name), ...rest])
      return whole
    },
  }
}

interface Latest {
  values: Values
  columns: unknown
  common: Shared
}

/** Of values, and of lists of such. */
const isSame = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((one, i) => isSame(one, b[i])))

const NAMED = ['tenant', 'candidates', 'reading', 'chosen', 'attempts']
type At = [number, number, number, number, number]
type Reading = [int8: string, scale: number]

const SCALE_BYTES = 8

const isReading = (value: unknown): value is Reading => Array.isArray(value) && value.length === 2

function bytesOf(numbers: string, reading: Reading | null): Buffer {
  if (!reading) return Buffer.from(numbers, 'base64')
  const length = Buffer.byteLength(numbers, 'base64')
  const bytes = Buffer.allocUnsafe(length + SCALE_BYTES + Buffer.byteLength(reading[0], 'base64'))
  bytes.write(numbers, 0, 'base64')
  bytes.writeDoubleLE(reading[1], length)
  bytes.write(reading[0], length + SCALE_BYTES, 'base64')
  return bytes
}

/** A candidate by its place in the list; one that is not there stays a name. */
function placeIn(names: readonly string[], name: unknown): unknown {
  const place = names.indexOf(name as string)
  return place < 0 ? name : place
}

const nameIn = (names: readonly string[], place: unknown): unknown => (typeof place === 'number' ? names[place] : place)
