import { expect, test } from 'vitest'
import { linesOf } from '../../src/runtime/lines.ts'
import fc from '../support/properties.ts'

async function* cut(bytes: Buffer, at: readonly number[]) {
  let from = 0
  for (const to of [...at.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    yield bytes.subarray(from, to)
    from = to
  }
}
const all = (bytes: Buffer, at: readonly number[] = []) => listed(linesOf(cut(bytes, at)))

async function listed(lines: AsyncIterable<string>): Promise<string[]> {
  const list: string[] = []
  for await (const line of lines) list.push(line)
  return list
}

test('whatever JSON holds, and wherever it is cut, its lines are the lines that were written', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' }), fc.constant('\u2028\u2029\u0085\u000b🦀\r'))),
      fc.constantFrom('\n', '\r\n'),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (values, end, at) => {
        const lines = values.map((value) => JSON.stringify(value))
        expect(await all(Buffer.from(lines.map((line) => line + end).join('')), at)).toEqual(lines)
      },
    ),
  )
})

test('a last line needs no end, an empty one within is a line, and an error of the input is told', async () => {
  expect(await all(Buffer.from('a\n\nb\r\n\r\nc'))).toEqual(['a', '', 'b', '', 'c'])
  expect(await all(Buffer.from(''))).toEqual([])
  async function* broken() {
    yield Buffer.from('a\nb')
    throw new Error('the disk')
  }
  await expect(listed(linesOf(broken()))).rejects.toThrow('the disk')
})
