import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress, createZstdDecompress } from 'node:zlib'
import { linesOf } from '../../runtime/lines.ts'
import { BackupError, type Part } from './manifest.ts'
import { type BackupRow, decodeRow, encodeRow } from './rows.ts'

/** One file that is being written: JSON lines, compressed. It gets its name when it is whole and on disk. */
export class PartFile {
  readonly #dir: string
  readonly #file: string
  readonly #startedAt = Date.now()
  readonly #rows: Part['rows'] = {}
  readonly #hash = createHash('sha256')
  readonly #zstd = createZstdCompress()
  readonly #done: Promise<void>
  #compressed = 0
  /** Before compression. */
  bytes = 0

  /** @param number of the part, from 0 */
  constructor(dir: string, number: number) {
    this.#dir = dir
    this.#file = `part-${String(number).padStart(6, '0')}.jsonl.zst`
    const measure = new Transform({
      transform: (chunk: Buffer, _, done) => {
        this.#hash.update(chunk)
        this.#compressed += chunk.length
        done(null, chunk)
      },
    })
    this.#done = pipeline(this.#zstd, measure, createWriteStream(this.#temporary, { mode: 0o600 }))
    // Told by `write` and `close`.
    this.#done.catch(() => undefined)
  }

  async write(rows: readonly BackupRow[]): Promise<void> {
    const text = rows.map((row) => `${encodeRow(row)}\n`).join('')
    this.bytes += Buffer.byteLength(text)
    for (const { type } of rows) this.#rows[type] = (this.#rows[type] ?? 0) + 1
    if (this.#zstd.write(text)) return
    await Promise.race([new Promise((resolve) => this.#zstd.once('drain', resolve)), this.#done])
  }

  async close(): Promise<Part> {
    this.#zstd.end()
    await this.#done
    const file = await open(this.#temporary, 'r+')
    await file.sync()
    await file.close()
    await rename(this.#temporary, join(this.#dir, this.#file))
    return {
      file: this.#file,
      bytes: this.#compressed,
      sha256: this.#hash.digest('hex'),
      started_at: this.#startedAt,
      rows: this.#rows,
    }
  }

  async discard(): Promise<void> {
    this.#zstd.destroy()
    await this.#done.catch(() => undefined)
  }

  get #temporary(): string {
    return join(this.#dir, `${this.#file}.new`)
  }
}

/** @throws BackupError where the file is not as it was written */
export async function checkPart(dir: string, { file, bytes, sha256 }: Part): Promise<void> {
  const hash = createHash('sha256')
  let length = 0
  try {
    for await (const chunk of createReadStream(join(dir, file)) as AsyncIterable<Buffer>) {
      hash.update(chunk)
      length += chunk.length
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new BackupError(`${join(dir, file)} is missing.`)
  }
  if (length !== bytes || hash.digest('hex') !== sha256) {
    throw new BackupError(`${join(dir, file)} is not as it was written: its hash is another one.`)
  }
}

/** Rows and bytes that are in memory at once. */
const BATCH = { rows: 256, characters: 8 * 1024 * 1024 }

/** The rows of a part, which was checked, in batches. @param wanted leaves out lines before they are read */
export async function* readPart(
  dir: string,
  { file }: Part,
  wanted: (type: string) => boolean = () => true,
): AsyncGenerator<BackupRow[]> {
  const input = createReadStream(join(dir, file)).pipe(createZstdDecompress())
  let [rows, characters, number]: [BackupRow[], number, number] = [[], 0, 0]
  for await (const line of linesOf(input)) {
    number++
    const type = /^\{"type":"(\w+)"/.exec(line)?.[1] ?? ''
    if (!wanted(type)) continue
    rows.push(rowOf(line, `${join(dir, file)}, line ${number}`))
    characters += line.length
    if (rows.length < BATCH.rows && characters < BATCH.characters) continue
    yield rows
    ;[rows, characters] = [[], 0]
  }
  if (rows.length > 0) yield rows
}

function rowOf(line: string, place: string): BackupRow {
  try {
    return decodeRow(line)
  } catch {
    throw new BackupError(`${place} is no row that this version reads.`)
  }
}
