/** How documents become rows: lists, since a name in every row is half of it. */
export interface RowForm {
  /** Names in their order. It only ever grows, at its end: rows of earlier versions are read by it. */
  names: readonly string[]
  /** Of those that may be left out, and then are null in a row; null itself is an empty list there. */
  optional: readonly string[]
  /** Kept as 0 and 1. */
  flags: readonly string[]
  /** Names of what is nested, in their order; those that may be left out come last. */
  nested: Readonly<Record<string, readonly string[]>>
  /** Lists of such. */
  lists: Readonly<Record<string, readonly string[]>>
}

type Document = Record<string, unknown>

/** @returns makes a row of a document, and a document of a row */
export function rowForm({ names, optional, flags, nested, lists }: RowForm): {
  rowOf: (document: Document) => unknown[]
  documentOf: (row: readonly unknown[]) => Document
} {
  const fields = names.map((name) => ({
    name,
    isOptional: optional.includes(name),
    isFlag: flags.includes(name),
    keys: nested[name],
    keysOfEach: lists[name],
  }))
  return {
    rowOf: writerOf(fields),
    documentOf(row) {
      const document: Document = {}
      for (const [i, { name, isOptional, isFlag, keys, keysOfEach }] of fields.entries()) {
        const value = row[i] ?? null
        if (value === null) {
          if (!isOptional) document[name] = null
        } else if (isOptional && Array.isArray(value) && value.length === 0) document[name] = null
        else if (isFlag) document[name] = value === 1
        else if (keys) document[name] = objectOf(value as unknown[], keys)
        else if (keysOfEach) document[name] = (value as unknown[][]).map((each) => objectOf(each, keysOfEach))
        else document[name] = value
      }
      return document
    },
  }
}

interface Field {
  name: string
  isOptional: boolean
  isFlag: boolean
  keys: readonly string[] | undefined
  keysOfEach: readonly string[] | undefined
}

/** As if it had been written out by hand, of this table alone: a loop over the fields takes twice as long. */
function writerOf(fields: readonly Field[]): (document: Document) => unknown[] {
  const values = fields.map(({ name, isOptional, isFlag, keys, keysOfEach }) => {
    const value = `document[${JSON.stringify(name)}]`
    const listOf = (object: string, names: readonly string[]) =>
      `listed([${names.map((key) => `${object}[${JSON.stringify(key)}]`).join(', ')}])`
    const kept = isFlag ? `(${value} ? 1 : 0)` : keys ? listOf(value, keys) : value
    const each = keysOfEach ? `${value}.map((each) => ${listOf('each', keysOfEach)})` : kept
    return `${value} === undefined ? null : ${value} === null ? ${isOptional ? '[]' : 'null'} : ${each}`
  })
  const write = new Function('document', 'listed', `return [${values.join(', ')}]`)
  return (document) => trimmed(write(document, listed))
}

function listed(values: unknown[]): unknown[] {
  while (values.at(-1) === undefined && values.length > 0) values.pop()
  return values
}

const objectOf = (values: readonly unknown[], keys: readonly string[]): Document =>
  Object.fromEntries(values.map((value, i) => [keys[i], value]))

function trimmed(row: unknown[]): unknown[] {
  while (row.at(-1) === null) row.pop()
  return row
}
