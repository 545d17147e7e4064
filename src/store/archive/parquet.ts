import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetRead } from 'hyparquet'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { type Cell, COLUMNS, type Column, type Kind } from './columns.ts'
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

/** A row group: of each column that is there, its cells in the order of the rows. */
interface Group {
  rows: number
  cells: ReadonlyMap<string, readonly Cell[]>
}

/** Rows by column, in the order of `COLUMNS`. */
export type Table = readonly (readonly Cell[])[]

export const tableOf = (kind: Kind, documents: readonly Document[]): Table =>
  COLUMNS[kind].map((column) => documents.map((document) => toCell(column, document[column.name])))

/**
 * The bytes of a file with these rows, which were read back.
 *
 * @throws ArchiveError where they hold something else than they should
 */
export async function encodeFile(kind: Kind, table: Table, shown: string): Promise<Uint8Array> {
  const columns = COLUMNS[kind]
  const written = parquetWriteBuffer({
    columnData: columns.map(({ name, type }, i) => ({ name, type, nullable: true, data: table[i] as Cell[] })),
    codec: 'ZSTD',
    compressors: { ZSTD: (input) => zstdCompressSync(input) },
    rowGroupSize: ROWS_PER_GROUP,
    kvMetadata: [
      { key: JSON_COLUMNS, value: columns.filter(({ isJson }) => isJson).map(({ name }) => name).join(',') }, // biome-ignore format: one step
    ],
    createdBy: 'persona-router',
  })
  let row = 0
  for await (const { rows, cells } of readGroups({ bytes: written, shown }, columns)) {
    for (const [i, { name }] of columns.entries()) {
      const [wanted, found] = [table[i] as readonly Cell[], cells.get(name)]
      for (let j = 0; j < rows; j++) {
        if (found?.[j] !== wanted[row + j]) throw new ArchiveError(`${shown}: row ${row + j} is not what was written.`)
      }
    }
    row += rows
  }
  const rows = table[0]?.length ?? 0
  if (row !== rows) throw new ArchiveError(`${shown}: ${row} rows of ${rows}.`)
  return new Uint8Array(written)
}

/**
 * A file's rows but for those that go, as they stand there.
 *
 * @param names of columns that `stays` looks at
 * @throws ArchiveError
 */
export async function readTable(
  source: Source,
  kind: Kind,
  names: readonly string[],
  stays: (document: Document) => boolean,
): Promise<{ table: Table; gone: number }> {
  const columns = COLUMNS[kind]
  const table = columns.map((): Cell[] => [])
  let gone = 0
  for await (const { rows, cells } of readGroups(source, columns)) {
    const looked = columns.filter(({ name }) => names.includes(name) && cells.has(name))
    const kept: number[] = []
    for (let row = 0; row < rows; row++) if (stays(documentAt(looked, cells, row))) kept.push(row)
    for (const [i, { name }] of columns.entries()) {
      const column = cells.get(name)
      for (const row of kept) (table[i] as Cell[]).push(column?.[row] ?? null)
    }
    gone += rows - kept.length
  }
  return { table, gone }
}

/**
 * Reads a file, some thousand rows at a time.
 *
 * @param names of columns; all where left out
 * @throws ArchiveError
 */
export async function* readFile(
  source: Source,
  kind: Kind,
  names?: readonly string[],
): AsyncGenerator<Document[], void, undefined> {
  const wanted = COLUMNS[kind].filter(({ name }) => names?.includes(name) ?? true)
  for await (const { rows, cells } of readGroups(source, wanted)) {
    // Written by another version: fields may have come since.
    const columns = wanted.filter(({ name }) => cells.has(name))
    yield Array.from({ length: rows }, (_, row) => documentAt(columns, cells, row))
  }
}

async function* readGroups({ bytes: file, shown }: Source, wanted: readonly Column[]): AsyncGenerator<Group> {
  const metadata = await reading<FileMetaData>(shown, () =>
    parquetMetadataAsync(file, { initialFetchSize: FOOTER_BYTES, parsers: PARSERS }),
  )
  const there = new Set(metadata.schema.map(({ name }) => name))
  const columns = wanted.map(({ name }) => name).filter((name) => there.has(name))
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows)
    const cells = new Map<string, Cell[]>(columns.map((name) => [name, []]))
    await reading(shown, () =>
      parquetRead({
        file,
        metadata,
        columns,
        parsers: PARSERS,
        rowStart,
        rowEnd: rowStart + rows,
        compressors: { ZSTD: (input) => zstdDecompressSync(input) },
        // Page by page, in their order.
        onChunk: ({ columnName, columnData }) => {
          const column = cells.get(columnName)
          for (let i = 0; i < columnData.length; i++) column?.push(columnData[i] ?? null)
        },
      }),
    )
    for (const [name, { length }] of cells) {
      if (length !== rows) throw new ArchiveError(`${shown} can't be read: ${length} of ${rows} in '${name}'.`)
    }
    yield { rows, cells }
    rowStart += rows
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

function toCell({ type, isJson, empty }: Column, value: unknown): Cell {
  if (value === undefined || (value === null && !(isJson && empty === 'absent'))) return null
  if (isJson) return JSON.stringify(value)
  // UTF-8 has no half characters, which comments and what a provider says may hold.
  if (typeof value === 'string') return value.toWellFormed()
  return type === 'INT64' ? BigInt(value as number) : (value as Cell)
}

function documentAt(columns: readonly Column[], cells: Group['cells'], row: number): Document {
  const document: Document = {}
  for (const { name, type, isJson, empty } of columns) {
    const cell = cells.get(name)?.[row] ?? null
    if (cell !== null) document[name] = isJson ? JSON.parse(cell as string) : type === 'INT64' ? Number(cell) : cell
    else if (empty === 'null') document[name] = null
  }
  return document
}
