import { restAfter, STEP_MS } from '../runtime/rest.ts'

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

/** Row by row as they are asked for: a page of them takes long. */
export async function* mapped<T, R>(
  pages: AsyncIterable<readonly T[]>,
  map: (row: T) => R,
): AsyncGenerator<Iterable<R>> {
  for await (const page of pages) yield each(page, map)
}

function* each<T, R>(rows: readonly T[], map: (row: T) => R): Generator<R> {
  for (const row of rows) yield map(row)
}

/**
 * Writes a JSON object whose last fields are lists that come in pages. It rests whenever it has worked for a while.
 *
 * @param write false = nobody reads any more
 * @returns false where that was so
 */
export async function writeObject(
  write: (text: string) => boolean | Promise<boolean>,
  head: object,
  lists: Record<string, AsyncIterable<Iterable<unknown>>>,
): Promise<boolean> {
  let text = JSON.stringify(head).slice(0, -1)
  let worked = 0
  for (const [name, pages] of Object.entries(lists)) {
    text += `,${JSON.stringify(name)}:[`
    let between = ''
    let from = performance.now()
    for await (const page of pages) {
      // A page is read in about that time: in the rest it waited for the store, or for others.
      worked += Math.min(STEP_MS / 2, performance.now() - from)
      from = performance.now()
      for (const row of page) {
        text += between + JSON.stringify(row)
        between = ','
        const ms = worked + performance.now() - from
        if (ms < STEP_MS) continue
        if (!(await write(text))) return false
        await restAfter(ms)
        text = ''
        worked = 0
        from = performance.now()
      }
      worked += performance.now() - from
      from = performance.now()
    }
    text += ']'
  }
  return await write(`${text}}`)
}
