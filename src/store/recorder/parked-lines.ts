import { closeSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder } from '../../runtime/make-folder.ts'
import { type Lines, nextLines } from './segment.ts'

/** Deliveries are dated so finely. */
const MARK_MS = 250

/** Where in all that was ever parked of the tenant it begins, in bytes; and how long it is. */
interface File {
  path: string
  start: number
  size: number
  /** Behind its lines lies what the disk would not cut off: no more are written to it. */
  isTorn?: true
}

/** `end`: for `advance`. */
export interface ParkedBatch extends Lines {
  end: number
}

export interface ParkedLinesOptions {
  /** A file ends once it is so long. */
  fileBytes: number
  /** How long delivered lines are kept, to be delivered again. */
  keepMs: number
  /** Of a file that is not there yet; named so that they sort by age. */
  nextPath(): string
}

/**
 * Lines of one tenant in order, in files: appended at the end, delivered from the front, and delivered again from where
 * the store is sure to have them. Positions are bytes since the first line.
 */
export class ParkedLines {
  readonly #options: ParkedLinesOptions
  /** Oldest first; the last is written. */
  readonly #files: File[] = []
  #end = 0
  /** Everything before it is delivered, at present. */
  #offset = 0
  /** Everything before it has been delivered at least once. */
  #once = 0
  /** Everything before it was delivered so long before the store last took some that it has it on its disk. */
  #safe = 0
  /** Where `#offset` was, and when, of the last seconds, oldest first. */
  #marks: { offset: number; at: number }[] = []

  constructor(options: ParkedLinesOptions) {
    this.#options = options
  }

  get isDelivered(): boolean {
    return this.#offset >= this.#end
  }

  /** Never delivered yet. */
  get pendingBytes(): number {
    return this.#end - this.#once
  }

  get end(): number {
    return this.#end
  }

  get bytesOnDisk(): number {
    return this.#end - (this.#files[0]?.start ?? this.#end)
  }

  /**
   * All of them or none.
   *
   * @param areNew false: they were delivered before, by themselves
   * @returns the files that were written
   * @throws Error where the disk refuses
   */
  append(lines: readonly string[], areNew: boolean): string[] {
    const [end, once] = [this.#end, this.#once]
    const written = new Set<string>()
    try {
      for (let next = 0; next < lines.length; ) {
        const file = this.#file()
        const first = next
        let bytes = 0
        while (next < lines.length && (next === first || file.size + bytes < this.#options.fileBytes))
          bytes += Buffer.byteLength(lines[next++]!) + 1
        written.add(file.path)
        append(file.path, Buffer.from(`${lines.slice(first, next).join('\n')}\n`))
        file.size += bytes
        this.#end += bytes
      }
    } catch (error) {
      this.cutBack(end)
      throw error
    }
    this.#once = areNew ? once : this.#end
    return [...written]
  }

  /** What was appended after `end` was not: where the disk refuses that, too, it is not read. */
  cutBack(end: number): void {
    this.#end = end
    while ((this.#files.at(-1)?.start ?? -1) >= end) {
      const { path } = this.#files.pop()!
      isDone(() => rmSync(path, { force: true }))
    }
    const last = this.#files.at(-1)
    if (!last) return
    last.size = end - last.start
    if (!isDone(() => truncateSync(last.path, last.size))) last.isTorn = true
  }

  #file(): File {
    const last = this.#files.at(-1)
    if (last && !last.isTorn && last.size < this.#options.fileBytes) return last
    const file = { path: this.#options.nextPath(), start: this.#end, size: 0 }
    makeFolder(dirname(file.path), 0o700)
    this.#files.push(file)
    return file
  }

  /** The next complete lines, about `maxBytes` of them but at least one; null at the end. */
  next(maxBytes: number): ParkedBatch | null {
    for (;;) {
      const file = this.#files.find(({ start, size }) => this.#offset < start + size)
      if (!file) return null
      const { path, size, start } = file
      this.#offset = Math.max(this.#offset, start)
      const once = Math.min(size, Math.max(0, this.#once - start))
      const lines = nextLines({ path, size, offset: this.#offset - start, once }, maxBytes)
      const end = this.#offset + lines.bytes
      if (lines.lines.length > 0) return { ...lines, end }
      this.#moveTo(end)
    }
  }

  /** Everything before `end` has been delivered. */
  advance(end: number): void {
    this.#moveTo(end)
    const now = performance.now()
    while (this.#marks[0] && this.#marks[0].at <= now - this.#options.keepMs) this.#safe = this.#marks.shift()!.offset
    if ((this.#marks.at(-1)?.at ?? Number.NEGATIVE_INFINITY) <= now - MARK_MS)
      this.#marks.push({ offset: this.#offset, at: now })
    while (this.#files[0] && this.#files[0].start + this.#files[0].size <= this.#safe) this.#dropFirst()
  }

  #moveTo(end: number): void {
    this.#offset = Math.max(this.#offset, end)
    this.#once = Math.max(this.#once, this.#offset)
  }

  /** What was taken in the last seconds may be lost, too; what comes after it is not safe before it is taken again. */
  rewind(): void {
    this.#offset = this.#safe
    this.#marks = []
  }

  /** Drops the oldest file if its lines have been delivered, be it that the store has lost them since. */
  yieldFile(): boolean {
    const [first] = this.#files
    if (!first || first.start + first.size > this.#once) return false
    this.#dropFirst()
    return true
  }

  drop(): void {
    while (this.#files.length > 0) this.#dropFirst()
  }

  #dropFirst(): void {
    rmSync(this.#files.shift()!.path, { force: true })
  }
}

function isDone(work: () => void): boolean {
  try {
    work()
    return true
  } catch {
    return false
  }
}

function append(path: string, bytes: Buffer): void {
  const fd = openSync(path, 'a', 0o600)
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
  } finally {
    closeSync(fd)
  }
}
