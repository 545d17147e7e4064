import { expect, test } from 'vitest'
import { FailedLogins } from '../../src/console/failed-logins.ts'

const passes = (failed: FailedLogins, address: string) => {
  try {
    failed.refuseFlood(address)
    return true
  } catch {
    return false
  }
}

test.each([
  ['an address', '192.0.2.1', '192.0.2.1', '192.0.2.2'],
  ['one of IPv4 in the form of IPv6', '::ffff:192.0.2.1', '192.0.2.1', '::ffff:192.0.2.2'],
  ['a network of IPv6', '2001:db8:0:1::5', '2001:db8:0:1:ffff::9', '2001:db8:0:2::5'],
  ['a local one', '::1', '::1', 'fe80::1'],
])('%s that tries wrong keys is refused, and nobody else', (_, address, same, other) => {
  const failed = new FailedLogins()
  for (let i = 0; i < 10; i++) {
    expect(passes(failed, same)).toBe(true)
    failed.note(address)
  }
  expect([passes(failed, same), passes(failed, other)]).toEqual([false, true])
})

test('from everywhere together there are not many more', () => {
  const failed = new FailedLogins()
  for (let i = 0; i < 1_000; i++) failed.note(`10.0.${i >> 8}.${i & 255}`)
  expect(passes(failed, '192.0.2.1')).toBe(false)
})
