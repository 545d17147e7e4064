import { isDeepStrictEqual } from 'node:util'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { COLUMNS, type Column, type Kind } from './columns.ts'
import { ArchiveError } from './home.ts'

type Document = Record<string, unknown>

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
/** A mark of byte order is a character like others: a user's name may begin with it. */
const PARSERS = { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && decoder.decode(bytes) }

/** Rows that a reader has in memory at least. */
const ROWS_PER_GROUP = 5_000
const JSON_COLUMNS = 'persona-router.json'

/** Where the end of a file is looked for, in bytes; it has the places of the columns. */
const FOOTER_BYTES = 65_536

/** A file's bytes, wherever they lie. */
export interface Source {
  bytes: AsyncBuffer
  /** For a message. */
  shown: string
}

/**
 * The bytes of a file with these rows, which were read back.
 *
 * @throws ArchiveError where they hold something else than they should
 */
export async function encodeFile(kind: Kind, documents: readonly Document[], shown: string): Promise<Uint8Array> {
  const columns = COLUMNS[kind]
  const written = parquetWriteBuffer({
    columnData: columns.map((column) => ({
      name: column.name,
      type: column.type,
      nullable: true,
      data: documents.map((document) => toCell(column, document[column.name])),
    })),
    codec: 'ZSTD',
    compressors: { ZSTD: (input) => zstdCompressSync(input) },
    rowGroupSize: ROWS_PER_GROUP,
    kvMetadata: [
      { key: JSON_COLUMNS, value: columns.filter(({ isJson }) => isJson).map(({ name }) => name).join(',') }, // biome-ignore format: one step
    ],
    createdBy: 'persona-router',
  })
  let row = 0
  for await (const batch of readFile({ bytes: written, shown }, kind)) {
    for (const document of batch) {
      if (!isDeepStrictEqual(document, withoutAbsent(columns, documents[row]))) {
        throw new ArchiveError(`${shown}: row ${row} is not what was written.`)
      }
      row++
    }
  }
  if (row !== documents.length) throw new ArchiveError(`${shown}: ${row} rows of ${documents.length}.`)
  return new Uint8Array(written)
}

/** As a file gives it back. */
function withoutAbsent(columns: readonly Column[], document: Document = {}): Document {
  const kept: Document = {}
  for (const column of columns) {
    const value = document[column.name]
    if (toCell(column, value) !== null) kept[column.name] = value
    else if (column.empty === 'null') kept[column.name] = null
  }
  return kept
}

/**
 * Reads a file, some thousand rows at a time.
 *
 * @param names of columns; all where left out
 * @throws ArchiveError
 */
export async function* readFile(
  { bytes: file, shown }: Source,
  kind: Kind,
  names?: readonly string[],
): AsyncGenerator<Document[], void, undefined> {
  const metadata = await reading<FileMetaData>(shown, () =>
    parquetMetadataAsync(file, { initialFetchSize: FOOTER_BYTES, parsers: PARSERS }),
  )
  const there = new Set(metadata.schema.map(({ name }) => name))
  // Written by another version: fields may have come since.
  const columns = COLUMNS[kind].filter(({ name }) => there.has(name) && (names?.includes(name) ?? true))
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    const rows = await reading(shown, () =>
      parquetReadObjects({
        file,
        metadata,
        columns: columns.map(({ name }) => name),
        parsers: PARSERS,
        rowStart,
        rowEnd,
        compressors: { ZSTD: (input) => zstdDecompressSync(input) },
      }),
    )
    yield rows.map((row) => fromCells(columns, row))
    rowStart = rowEnd
  }
}

async function reading<T>(shown: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    // What the file system or the bucket says tells more.
    if (error instanceof ArchiveError || (error as NodeJS.ErrnoException).syscall !== undefined) throw error
    throw new ArchiveError(`${shown} can't be read: ${(error as Error).message}`, { cause: error })
  }
}

function toCell({ type, isJson, empty }: Column, value: unknown): unknown {
  if (value === undefined || (value === null && !(isJson && empty === 'absent'))) return null
  if (isJson) return JSON.stringify(value)
  return type === 'INT64' ? BigInt(value as number) : value
}

function fromCells(columns: readonly Column[], row: Document): Document {
  const document: Document = {}
  for (const { name, type, isJson, empty } of columns) {
    const cell = row[name] ?? null
    if (cell !== null) document[name] = isJson ? JSON.parse(cell as string) : type === 'INT64' ? Number(cell) : cell
    else if (empty === 'null') document[name] = null
  }
  return document
}
