import { expect, it, vi } from 'vitest'
import { trustAuthorities } from '../../src/runtime/authorities.ts'

// As Node 24.0 has it.
vi.mock('node:tls', () => ({ default: {} }))

it('a Node that takes no authorities starts without them, and says so', () => {
  const problems = trustAuthorities({ SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt' })
  expect(problems).toEqual([expect.stringMatching(/^SSL_CERT_FILE.* Node v\d+\.\d+\.\d+ can’t take them, 24\.5 can/)])
})
