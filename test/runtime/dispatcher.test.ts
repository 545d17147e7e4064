import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, LookupFunction } from 'node:net'
import { afterEach, expect, it, vi } from 'vitest'
import { openDispatcher } from '../../src/runtime/dispatcher.ts'
import type { TlsMaterial } from '../../src/runtime/tls.ts'

const undo: (() => unknown)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const step of undo.splice(0).reverse()) await step()
})

// A Mac has no 127.0.0.2 of its own.
const withAddresses = it.skipIf(process.platform === 'darwin')

withAddresses(
  'finds a host that has moved, though the old one still answers and no connection is ever idle',
  async () => {
    const answering = (name: string) => createServer((_, response) => void setTimeout(() => response.end(name), 5))
    const [before, after] = [answering('before'), answering('after')]
    before.listen(0, '127.0.0.1')
    await once(before, 'listening')
    const { port } = before.address() as AddressInfo
    after.listen(port, '127.0.0.2')
    await once(after, 'listening')
    let address = '127.0.0.1'
    const lookup: LookupFunction = (_, { all }, done) =>
      all ? done(null, [{ address, family: 4 }]) : done(null, address, 4)
    const origin = `http://provider.test:${port}`
    const dispatcher = openDispatcher({
      ...{ origin, connectTimeoutMs: 2_000, connections: 2, proxy: null, http2: false },
      tls: { lookup } as TlsMaterial,
    })
    undo.push(
      () => dispatcher.destroy(),
      () => [before, after].map((server) => server.closeAllConnections()),
      () => [before, after].map((server) => server.close()),
    )
    const ask = async () => (await dispatcher.request({ origin, path: '/', method: 'GET' })).body.text()
    vi.useFakeTimers({ toFake: ['Date'] })
    const askAll = () => Promise.all([ask(), ask(), ask()])
    expect(await askAll()).toEqual(['before', 'before', 'before'])
    address = '127.0.0.2'
    expect(await askAll()).toEqual(['before', 'before', 'before'])
    vi.setSystemTime(Date.now() + 6 * 60_000)
    expect(await askAll()).toEqual(['after', 'after', 'after'])
  },
)
