import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { RequestContexts } from '../../src/pipeline/context.ts'
import { HeldBytes } from '../../src/pipeline/held-bytes.ts'
import type { RequestIds } from '../../src/pipeline/request-ids.ts'

test('whoever is in work when the end is announced, or begins after it, is told that their connection ends', () => {
  let id = 0
  const ids = { next: () => `request-${++id}` } as unknown as RequestIds
  const requests = new RequestContexts(new HeldBytes({ max: 1, maxPerTenant: 1 }), ids)
  const begin = () => {
    const incoming = new IncomingMessage(new Socket())
    const outgoing = new ServerResponse(incoming)
    outgoing.shouldKeepAlive = true
    requests.begin(incoming, outgoing, { tenant: 'acme', keyId: 'key', models: null, scopes: null }, {} as never)
    return outgoing
  }
  const before = begin()
  expect(before.shouldKeepAlive).toBe(true)
  requests.drain()
  // It had come before, and waited for others of its turn, or for its key.
  const after = begin()
  expect([before.shouldKeepAlive, after.shouldKeepAlive]).toEqual([false, false])
  expect(requests.size).toBe(2)
})
