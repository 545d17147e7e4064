import {
  closeSync,
  fdatasync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { nextLines, type Segment } from './segment.ts'
import { doneName, isDone, SpoolHome } from './spool-home.ts'

const SEGMENT_BYTES = 1024 * 1024
/**
 * How long delivered lines are kept, to be delivered again (`rewind`): a Redis that dies may lose what it had
 * acknowledged.
 */
export const KEEP_MS = 5_000
/** UTF-8 of a UTF-16 unit. */
const MOST_BYTES_PER_CHAR = 3
/** What is being appended, where it fits. */
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024)

const datasync = promisify(fdatasync)

interface OwnSegment extends Segment {
  /** False: an earlier process wrote it. */
  own: boolean
  /** When the last of it was delivered, on the monotonic clock. */
  deliveredAt: number
}

/** Of each segment, how much of it had been delivered. */
export type SpoolPlace = ReadonlyMap<object, number>

interface DeliveredLines {
  lines: string[]
  /** They were delivered after that. */
  isBehind(place: SpoolPlace): boolean
}

/** Complete lines from the front of the spool; `bytes` is what `advance` wants when they have been delivered. */
export interface SpoolBatch {
  lines: string[]
  bytes: number
  /** `adopted`: an earlier process wrote them; `again`: they have been delivered before. */
  kind: 'own' | 'adopted' | 'again'
}

/**
 * A queue of lines on disk: appended at the back, read at the front, gone some seconds after they were delivered. A
 * line is in the kernel's hands when `append` returns, so the death of this process does not lose it; `sync` brings it
 * to the disk. What a dead process left is taken over by `adopt`.
 */
export class Spool {
  readonly #home: SpoolHome
  readonly #maxBytes: number
  /** Oldest first; the last one is being written. */
  readonly #segments: OwnSegment[] = []
  #fd: number
  #count = 0
  #pendingBytes = 0

  readonly #besides: () => number

  /**
   * @param besides bytes in its folder that are not its own, of `maxBytes`
   * @throws Error when the directory can't be written
   */
  constructor({ path, maxBytes }: { path: string; maxBytes: number }, besides = () => 0) {
    this.#home = new SpoolHome(path)
    this.#maxBytes = maxBytes
    this.#besides = besides
    this.#fd = this.#newSegment()
  }

  /** Not delivered yet. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Its folder: what is left there when this process ends goes to its heir. */
  get home(): string {
    return this.#home.path
  }

  get #current(): OwnSegment {
    return this.#segments.at(-1)!
  }

  /**
   * Appends lines, in one write as far as they fit.
   *
   * @param lines each ending in a newline
   * @returns the bytes of each; 0 = the bound is reached, or the disk refuses, and it was not appended
   */
  append(lines: readonly string[]): number[] {
    const sizes: number[] = []
    for (let next = 0; next < lines.length; ) {
      const first = next
      let bytes = 0
      while (next < lines.length && bytes + MOST_BYTES_PER_CHAR * lines[next]!.length <= SCRATCH.length) {
        const size = SCRATCH.write(lines[next++]!, bytes)
        sizes.push(size)
        bytes += size
      }
      // Larger than what is written together.
      if (next === first) sizes.push(this.#appendAlone(lines[next++]!))
      else if (!this.#write(SCRATCH, bytes)) {
        // Some of them may fit by themselves.
        for (let i = first; i < next; i++) sizes[i] = this.#appendAlone(lines[i]!)
      }
    }
    return sizes
  }

  #appendAlone(line: string): number {
    const bytes = Buffer.from(line)
    return this.#write(bytes, bytes.length) ? bytes.length : 0
  }

  /** False: nothing was written. */
  #write(buffer: Buffer, bytes: number): boolean {
    if (this.#pendingBytes + this.#besides() + bytes > this.#maxBytes) return false
    try {
      if (this.#current.size >= SEGMENT_BYTES) this.#rotate()
      for (let written = 0; written < bytes; ) written += writeSync(this.#fd, buffer, written, bytes - written)
    } catch {
      this.#cutTornEnd()
      return false
    }
    this.#current.size += bytes
    this.#pendingBytes += bytes
    return true
  }

  /** The next complete lines, about `maxBytes` of them but at least one. Null at the end. */
  peek(maxBytes: number): SpoolBatch | null {
    this.#dropOld()
    for (;;) {
      const segment = this.#segments.find(({ offset, size }) => offset < size)
      if (!segment) return null
      const { lines, bytes, isAgain } = nextLines(segment, maxBytes)
      if (lines.length > 0) return { lines, bytes, kind: isAgain ? 'again' : segment.own ? 'own' : 'adopted' }
      this.advance(bytes)
    }
  }

  /** So many bytes from the front have been delivered. */
  advance(bytes: number): void {
    for (const segment of this.#segments) {
      if (bytes === 0) break
      const here = Math.min(bytes, segment.size - segment.offset)
      if (here === 0) continue
      segment.offset += here
      bytes -= here
      segment.deliveredAt = performance.now()
      this.#pendingBytes -= Math.max(0, segment.offset - segment.once)
      segment.once = Math.max(segment.once, segment.offset)
      this.#markDone(segment)
    }
    this.#dropOld()
  }

  /** How far it has been delivered. */
  get place(): SpoolPlace {
    return new Map(this.#segments.map((segment) => [segment, segment.offset]))
  }

  /**
   * What was delivered in the last seconds, some lines at a time: it is still here.
   *
   * @param places at each of which new lines begin
   */
  *delivered(maxBytes: number, places: readonly SpoolPlace[]): Generator<DeliveredLines> {
    for (const segment of [...this.#segments]) {
      const end = segment.offset
      const offsetOf = (place: SpoolPlace) => place.get(segment) ?? 0
      for (let offset = 0; offset < end && this.#segments.includes(segment); ) {
        const start = offset
        const size = Math.min(end, ...places.map(offsetOf).filter((at) => at > start))
        const { lines, bytes } = nextLines({ path: segment.path, size, offset, once: 0 }, maxBytes)
        yield { lines, isBehind: (place) => start >= offsetOf(place) }
        offset += bytes
      }
    }
  }

  /** What was delivered in the last seconds is to be delivered again. True when there is something. */
  rewind(): boolean {
    this.#dropOld()
    for (const segment of this.#segments) segment.offset = 0
    return this.#segments.some(({ size }) => size > 0)
  }

  /** Puts what dead processes left in front of what is here. True when there was something. */
  adopt(): boolean {
    const found = this.#home
      .adopt(KEEP_MS)
      .map((path) => ({ path, size: statSync(path).size }))
      .filter(({ size }) => size > 0)
      .map(({ path, size }) => ({ path, size, offset: 0, once: isDone(path) ? size : 0, own: false, deliveredAt: 0 }))
    this.#segments.unshift(...found)
    for (const { size, once } of found) this.#pendingBytes += size - once
    return found.length > 0
  }

  /**
   * To be called now and then: what was delivered does not stay on the disk until more comes. It may be of a user who
   * was erased since.
   */
  tidy(): void {
    const { offset, size } = this.#current
    try {
      if (size > 0 && offset === size) this.#rotate()
    } catch {
      // A disk that refuses a new segment: the next time, then.
    }
    this.#dropOld()
  }

  /** Resolves when what was appended is on the disk. */
  async sync(): Promise<void> {
    await datasync(this.#fd).catch(() => undefined)
  }

  /** Keeps a line that the store will never take, for somebody to look at. */
  reject(line: string): void {
    const fd = openSync(join(this.#home.path, 'rejected.ndjson'), 'a', 0o600)
    try {
      writeSync(fd, `${line}\n`)
    } finally {
      closeSync(fd)
    }
  }

  close(): void {
    closeSync(this.#fd)
    for (const { path, offset, size } of this.#segments) if (offset === size) rmSync(path, { force: true })
    this.#home.close()
  }

  #newSegment(): number {
    const path = join(this.#home.path, `${String(++this.#count).padStart(6, '0')}.ndjson`)
    const fd = openSync(path, 'a+', 0o600)
    this.#segments.push({ path, size: 0, offset: 0, once: 0, own: true, deliveredAt: 0 })
    return fd
  }

  #rotate(): void {
    const full = this.#fd
    const segment = this.#current
    this.#fd = this.#newSegment()
    fdatasync(full, () => closeSync(full))
    this.#markDone(segment)
  }

  /**
   * Else an heir would deliver it again, and the heir's heir: a process that dies again and again would fill the spool
   * with what the store has.
   */
  #markDone(segment: OwnSegment): void {
    const { path, offset, size } = segment
    if (segment === this.#current || offset < size || isDone(path)) return
    try {
      const done = doneName(path)
      renameSync(path, done)
      segment.path = done
    } catch {
      // Then it is delivered once more than it need be.
    }
  }

  #dropOld(): void {
    const before = performance.now() - KEEP_MS
    while (this.#segments.length > 1) {
      const { path, offset, size, deliveredAt } = this.#segments[0]!
      if (offset < size || deliveredAt > before) return
      this.#segments.shift()
      try {
        unlinkSync(path)
      } catch {
        // A segment that stays is delivered again after its adoption; the store ignores what it has.
      }
    }
  }

  #cutTornEnd(): void {
    try {
      ftruncateSync(this.#fd, this.#current.size)
    } catch {
      // Then the torn line is left: it has no newline, and the next line joins it. Both are counted as unreadable.
    }
  }
}
