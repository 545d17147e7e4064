import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface BucketProxy {
  /** `http://127.0.0.1:<port>` */
  origin: string
  /** The body as it goes on, or the code of an error that is answered instead. */
  treat: (asked: { method: string; url: string; body: Buffer }) => Buffer | { status: number; code: string }
  /** Headers of answers that are left out. */
  hidden: string[]
  close(): Promise<void>
}

/** Stands before a server of buckets, and lets it fail as networks, disks and policies do. */
export async function startBucketProxy(target: string): Promise<BucketProxy> {
  const server = createServer(async (incoming, outgoing) => {
    const { method = '', url = '' } = incoming
    const treated = proxy.treat({ method, url, body: await buffer(incoming) })
    if (!Buffer.isBuffer(treated)) {
      outgoing.writeHead(treated.status, { 'content-type': 'application/xml' })
      outgoing.end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${treated.code}</Code></Error>`)
      return
    }
    const onward = request(target + url, { method, headers: incoming.headers })
    onward.end(treated)
    const [answer] = (await once(onward, 'response')) as [IncomingMessage]
    for (const [name, value = ''] of Object.entries(answer.headers)) {
      if (!proxy.hidden.includes(name)) outgoing.setHeader(name, value)
    }
    outgoing.writeHead(answer.statusCode ?? 500)
    answer.pipe(outgoing)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy: BucketProxy = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    treat: ({ body }) => body,
    hidden: [],
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return proxy
}
