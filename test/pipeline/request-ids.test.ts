import { expect, test } from 'vitest'
import { RequestIds } from '../../src/pipeline/request-ids.ts'

const ids = () => new RequestIds('an identity secret for tests')
const NOW = 1_790_000_000_123

test('are UUIDs of version 8, each another one', () => {
  const own = ids()
  const made = Array.from({ length: 2_000 }, () => own.next('acme', NOW))
  expect(new Set(made).size).toBe(2_000)
  for (const id of made) expect(id).toMatch(/^req_[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

test('tell every process under the same secret when they were given, and to whose request', () => {
  const id = ids().next('acme', NOW)
  expect(ids().timeOf('acme', id)).toBe(NOW)
  expect(ids().timeOf('other', id)).toBeNull()
  expect(new RequestIds('another identity secret').timeOf('acme', id)).toBeNull()
})

test('that were changed anywhere, or made up, are nobody’s', () => {
  const own = ids()
  const id = own.next('acme', NOW)
  for (let at = 4; at < id.length; at++) {
    if (id[at] === '-') continue
    const changed = id.slice(0, at) + (id[at] === '0' ? '1' : '0') + id.slice(at + 1)
    expect([changed, own.timeOf('acme', changed)]).toEqual([changed, null])
  }
  for (const other of ['', 'req_', 'chatcmpl-7', id.slice(1), `${id}0`, 'req_5e5b9a0e-6d1c-4b6a-9b1e-3f2c1d0e9a8b'])
    expect([other, own.timeOf('acme', other)]).toEqual([other, null])
})
