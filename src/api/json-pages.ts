import { restSince } from '../runtime/rest.ts'

/** Pages of rows, of which the first is there already. */
export interface Begun<T> {
  isEmpty: boolean
  pages: AsyncIterable<readonly T[]>
}

/** Reads the first page, so that there is something to say before anything is written. */
export async function begun<T>(pages: AsyncIterable<readonly T[]>): Promise<Begun<T>> {
  const iterator = pages[Symbol.asyncIterator]()
  let first: IteratorResult<readonly T[]> | null = await iterator.next()
  const all: AsyncIterator<readonly T[]> = {
    next() {
      const next = first ? Promise.resolve(first) : iterator.next()
      first = null
      return next
    },
  }
  return { isEmpty: first.done === true, pages: { [Symbol.asyncIterator]: () => all } }
}

export async function* mapped<T, R>(pages: AsyncIterable<readonly T[]>, map: (row: T) => R): AsyncGenerator<R[]> {
  for await (const page of pages) yield page.map(map)
}

/**
 * Writes a JSON object whose last fields are lists that come in pages, none of them empty. It rests between two.
 *
 * @param write false = nobody reads any more
 * @returns false where that was so
 */
export async function writeObject(
  write: (text: string) => boolean | Promise<boolean>,
  head: object,
  lists: Record<string, AsyncIterable<readonly unknown[]>>,
): Promise<boolean> {
  let before = JSON.stringify(head).slice(0, -1)
  for (const [name, pages] of Object.entries(lists)) {
    before += `,${JSON.stringify(name)}:[`
    let isFirst = true
    let from = performance.now()
    for await (const page of pages) {
      const rows = page.map((row) => JSON.stringify(row)).join(',')
      if (!(await write(`${before}${isFirst ? '' : ','}${rows}`))) return false
      before = ''
      isFirst = false
      await restSince(from)
      from = performance.now()
    }
    before += ']'
  }
  return await write(`${before}}`)
}
