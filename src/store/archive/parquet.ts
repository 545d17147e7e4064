import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { parquetWriteFile } from 'hyparquet-writer'
import { COLUMNS, type Column, type Kind } from './columns.ts'

type Document = Record<string, unknown>

/** Rows that a reader has in memory at least. */
const ROWS_PER_GROUP = 5_000
const JSON_COLUMNS = 'persona-router.json'

/** A file of an archive that does not hold what was written to it, or can't be read. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError'
}

/**
 * Writes a file whole or not at all: it has its name once it is on the disk and has been read back.
 *
 * @param beforeNaming called once it was read back; where it throws, the file gets no name
 * @throws ArchiveError where it holds something else than it should. @throws Error of the file system
 */
export async function writeFile(
  path: string,
  kind: Kind,
  documents: readonly Document[],
  beforeNaming: () => void,
): Promise<void> {
  const part = `${path}.part`
  const columns = COLUMNS[kind]
  parquetWriteFile({
    filename: part,
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
  for await (const batch of readFile(part, kind)) {
    for (const document of batch) {
      if (!isDeepStrictEqual(document, withoutAbsent(columns, documents[row]))) {
        throw new ArchiveError(`${part}: row ${row} is not what was written.`)
      }
      row++
    }
  }
  if (row !== documents.length) throw new ArchiveError(`${part}: ${row} rows of ${documents.length}.`)
  beforeNaming()
  replaceFile(part, path)
}

/** Gives a file the name of another one, on the disk. */
export function replaceFile(part: string, path: string): void {
  syncPath(part)
  renameSync(part, path)
  syncPath(dirname(path))
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
  path: string,
  kind: Kind,
  names?: readonly string[],
): AsyncGenerator<Document[], void, undefined> {
  const { file, metadata } = await opened(path)
  const there = new Set(metadata.schema.map(({ name }) => name))
  // Written by another version: fields may have come since.
  const columns = COLUMNS[kind].filter(({ name }) => there.has(name) && (names?.includes(name) ?? true))
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    const rows = await reading(path, () =>
      parquetReadObjects({
        file,
        metadata,
        columns: columns.map(({ name }) => name),
        rowStart,
        rowEnd,
        compressors: { ZSTD: (input) => zstdDecompressSync(input) },
      }),
    )
    yield rows.map((row) => fromCells(columns, row))
    rowStart = rowEnd
  }
}

async function opened(
  path: string,
): Promise<{ file: Awaited<ReturnType<typeof asyncBufferFromFile>>; metadata: FileMetaData }> {
  return reading(path, async () => {
    const file = await asyncBufferFromFile(path)
    return { file, metadata: await parquetMetadataAsync(file) }
  })
}

async function reading<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    // What the file system says tells more.
    if ((error as NodeJS.ErrnoException).syscall !== undefined) throw error
    throw new ArchiveError(`${path} can't be read: ${(error as Error).message}`, { cause: error })
  }
}

/** Forgets a file for good. */
export function removeFile(path: string): void {
  rmSync(path, { force: true })
  syncPath(dirname(path))
}

function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
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
