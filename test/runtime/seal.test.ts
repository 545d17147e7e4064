import { expect, test } from 'vitest'
import { Seal } from '../../src/runtime/seal.ts'
import fc from '../support/properties.ts'

const seal = new Seal(['a-secret-of-the-gateway'], 'tests')
const bytes = Buffer.from('what was said')

test('what is sealed is opened under the same context, and is another each time', () => {
  const one = seal.seal(bytes, 'here')
  expect(seal.open(one, 'here')).toEqual(bytes)
  expect(one.includes('said')).toBe(false)
  expect(seal.seal(bytes, 'here')).not.toEqual(one)
})

test('another context, secret or purpose opens nothing', () => {
  const one = seal.seal(bytes, 'here')
  expect(seal.open(one, 'there')).toBeNull()
  expect(new Seal(['another-secret'], 'tests').open(one, 'here')).toBeNull()
  expect(new Seal(['a-secret-of-the-gateway'], 'others').open(one, 'here')).toBeNull()
  const changing = new Seal(['a-secret-of-the-gateway'], 'tests')
  expect(changing.open(one, 'here')).toEqual(bytes)
  changing.use(['another-secret'])
  expect(changing.open(one, 'here')).toBeNull()
  changing.use(['another-secret', 'a-secret-of-the-gateway'])
  expect(changing.open(one, 'here')).toEqual(bytes)
  expect(seal.open(changing.seal(bytes, 'here'), 'here')).toBeNull()
  expect(new Seal(['a-secret-of-the-gateway'], 'tests', Buffer.from('salt')).open(one, 'here')).toBeNull()
})

test('whatever is changed of it, it is not opened', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const one = seal.seal(bytes, 'here')
      const place = at % one.length
      one[place] = (one[place] as number) ^ change
      expect(seal.open(one, 'here')).toBeNull()
    }),
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (junk) => seal.open(Buffer.from(junk), 'here') === null))
})
