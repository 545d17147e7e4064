import { hash } from 'node:crypto'
import type { QuantisedVector } from '../runtime/quantise.ts'
import { ByteReader, ByteWriter } from './byte-stream.ts'
import type { StoredEdge } from './store.ts'

const VERSION = 1
const ID_BYTES = 6

/** Flags of an edge: what follows. */
const [READING, VECTOR, COST, REWARD, WEIGHT, COMPLETION] = [1, 2, 4, 8, 16, 32]
/** Whether somebody answered for the user's name; neither: by an earlier version, which passes over both. */
const [VOUCHED, UNVOUCHED] = [64, 128]

/**
 * An edge's id: a hash of the interaction, which tells a user's answers apart (48 bits of SHA-256), and what was said
 * of it. `said`: the kind of the reward, or which side of a preference.
 */
export const edgeId = (interaction: string, said: string): string => `${interactionHash(interaction)}:${said}`

/** What ids of edges about one answer begin with. */
export const interactionHash = (interaction: string): string =>
  hash('sha256', interaction, 'buffer').subarray(0, ID_BYTES).toString('base64url')

/**
 * Edges in about 55 bytes each: their number (uint16), version, a table of names, then edge by edge. Little-endian.
 * Numbers are float32. A vector in clear is left out: only earlier versions kept one.
 *
 * @param edges oldest first
 */
export function encodeHistory(edges: readonly StoredEdge[]): Buffer {
  const names = new Names()
  const bytes = new ByteWriter(64 + 72 * edges.length)
  let [seq, ts] = [0, 0]
  for (const edge of edges) {
    const { id, candidate, kind, reader, reading, vector } = edge
    const colon = id.indexOf(':')
    writeHash(bytes, id.slice(0, colon))
    bytes.unsigned(names.of(candidate))
    bytes.unsigned(names.of(`${id.slice(colon + 1)}\n${kind}\n${reader}`))
    bytes.signed(edge.seq - seq)
    bytes.signed(edge.ts - ts)
    ;[seq, ts] = [edge.seq, edge.ts]
    const sealed = vector && 'sealed' in vector.of ? vector.of.sealed : null
    bytes.byte(
      (reading ? READING : 0) |
        (sealed !== null ? VECTOR : 0) |
        (edge.costUsd >= 0 ? COST : 0) |
        (edge.reward !== 1 ? REWARD : 0) |
        (edge.weight !== 1 ? WEIGHT : 0) |
        (edge.completionTokens >= 0 ? COMPLETION : 0) |
        (edge.vouched === undefined ? 0 : edge.vouched ? VOUCHED : UNVOUCHED),
    )
    bytes.unsigned(Math.max(0, Math.round(edge.promptTokens)))
    if (edge.completionTokens >= 0) bytes.unsigned(Math.round(edge.completionTokens))
    if (edge.costUsd >= 0) bytes.float(edge.costUsd)
    if (edge.reward !== 1) bytes.float(edge.reward)
    if (edge.weight !== 1) bytes.float(edge.weight)
    if (reading) writeReading(bytes, reading)
    if (vector && sealed !== null) {
      bytes.unsigned(names.of(vector.embedder))
      const content = Buffer.from(sealed, 'base64')
      bytes.unsigned(content.length)
      bytes.raw(content)
    }
  }
  const head = new ByteWriter(64)
  head.byte(edges.length & 255)
  head.byte(edges.length >> 8)
  head.byte(VERSION)
  head.unsigned(names.list.length)
  for (const name of names.list) {
    const utf8 = Buffer.from(name)
    head.unsigned(utf8.length)
    head.raw(utf8)
  }
  return Buffer.concat([head.bytes, bytes.bytes])
}

/** @throws RangeError where it was not written by `encodeHistory` */
export function decodeHistory(content: Uint8Array): StoredEdge[] {
  if (content.length === 0) return []
  const bytes = new ByteReader(content)
  const count = bytes.byte() + 256 * bytes.byte()
  if (bytes.byte() !== VERSION) throw new RangeError('A history of another version of persona-router.')
  const names = Array.from({ length: bytes.unsigned() }, () => String(bytes.raw(bytes.unsigned())))
  const name = (): string => {
    const found = names[bytes.unsigned()]
    if (found === undefined) throw new RangeError('A broken history.')
    return found
  }
  const parts = new Map<string, string[]>()
  const partsOf = (joined: string): string[] => {
    const known = parts.get(joined) ?? joined.split('\n')
    parts.set(joined, known)
    return known
  }
  let [seq, ts] = [0, 0]
  return Array.from({ length: count }, (): StoredEdge => {
    const about = readHash(bytes)
    const candidate = name()
    const [said = '', kind = '', reader = ''] = partsOf(name())
    seq += bytes.signed()
    ts += bytes.signed()
    const flags = bytes.byte()
    const promptTokens = bytes.unsigned()
    const completionTokens = flags & COMPLETION ? bytes.unsigned() : -1
    const costUsd = flags & COST ? bytes.float() : -1
    const reward = flags & REWARD ? bytes.float() : 1
    const weight = flags & WEIGHT ? bytes.float() : 1
    const reading = flags & READING ? readReading(bytes) : null
    const vector =
      flags & VECTOR ? { embedder: name(), of: { sealed: bytes.raw(bytes.unsigned()).toString('base64') } } : null
    return {
      ...{ id: `${about}:${said}`, seq, ts, candidate, reading, reader, vector },
      ...{ reward, kind, weight, promptTokens, completionTokens, costUsd },
      ...(flags & (VOUCHED | UNVOUCHED) && { vouched: (flags & VOUCHED) !== 0 }),
    }
  })
}

// A long history is read and written for one rating more: calls into Node for each hash would take most of it.
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const CODES = Uint8Array.from(LETTERS, (letter) => letter.charCodeAt(0))
const VALUES = new Uint8Array(128).fill(64)
for (const [value, code] of CODES.entries()) VALUES[code] = value

/** A hash in base64url: four letters are three bytes. What is none is hashed. */
function writeHash(bytes: ByteWriter, about: string): void {
  const letters = isHash(about) ? about : interactionHash(about)
  const value = (at: number) => VALUES[letters.charCodeAt(at)]!
  for (let at = 0; at < letters.length; at += 4) {
    const three = (value(at) << 18) | (value(at + 1) << 12) | (value(at + 2) << 6) | value(at + 3)
    bytes.byte(three >> 16)
    bytes.byte((three >> 8) & 255)
    bytes.byte(three & 255)
  }
}

function isHash(about: string): boolean {
  if (about.length !== (ID_BYTES * 4) / 3) return false
  for (let at = 0; at < about.length; at++) if (!(VALUES[about.charCodeAt(at)]! < 64)) return false
  return true
}

function readHash(bytes: ByteReader): string {
  const letters = () => {
    const three = (bytes.byte() << 16) | (bytes.byte() << 8) | bytes.byte()
    return String.fromCharCode(
      CODES[three >> 18]!,
      CODES[(three >> 12) & 63]!,
      CODES[(three >> 6) & 63]!,
      CODES[three & 63]!,
    )
  }
  return letters() + letters()
}

class Names {
  readonly list: string[] = []
  readonly #places = new Map<string, number>()

  of(name: string): number {
    let place = this.#places.get(name)
    if (place === undefined) {
      place = this.list.push(name) - 1
      this.#places.set(name, place)
    }
    return place
  }
}

/** Half of it is zero: probabilities of kinds of tasks. A bit for each number that is not, then those. */
function writeReading(bytes: ByteWriter, { int8, scale }: QuantisedVector): void {
  bytes.float(scale)
  bytes.unsigned(int8.length)
  for (let start = 0; start < int8.length; start += 8) {
    let present = 0
    for (let i = start; i < Math.min(start + 8, int8.length); i++) if (int8[i] !== 0) present |= 1 << (i - start)
    bytes.byte(present)
  }
  for (const value of int8) if (value !== 0) bytes.byte(value & 255)
}

function readReading(bytes: ByteReader): QuantisedVector {
  const scale = bytes.float()
  const int8 = new Int8Array(bytes.unsigned())
  const present = bytes.skip(Math.ceil(int8.length / 8))
  for (let i = 0; i < int8.length; i++) {
    if ((bytes.passed(present + (i >> 3)) >> (i & 7)) & 1) int8[i] = bytes.byte()
  }
  return { int8, scale }
}
