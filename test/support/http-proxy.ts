import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, request } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface HttpProxy {
  url: string
  port: number
  /** `CONNECT host:port`, `POST http://…`, in the order in which they came. */
  asked: string[]
  /** Bytes that went through tunnels, both ways. */
  tunnelled: () => Buffer
  close(): void
}

/**
 * A forwarding proxy: tunnels by CONNECT, and whole addresses (RFC 9110, 7.6 and 9.3.6). Every host is this machine.
 *
 * @param credentials `user:password` that it wants; @param answers false: it takes a tunnel's request, and says nothing
 */
export async function startHttpProxy({
  credentials,
  answers = true,
}: {
  credentials?: string
  answers?: boolean
} = {}): Promise<HttpProxy> {
  const asked: string[] = []
  const seen: Buffer[] = []
  const sockets = new Set<Socket>()
  const wanted = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`
  const isRefused = ({ headers }: IncomingMessage) => wanted !== undefined && headers['proxy-authorization'] !== wanted

  const forward: RequestListener = (incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`)
    if (isRefused(incoming)) return void outgoing.writeHead(407, { 'proxy-authenticate': 'Basic' }).end()
    const { port, pathname, search } = new URL(incoming.url ?? '')
    const { 'proxy-authorization': _, ...headers } = incoming.headers
    const onward = request(
      { host: '127.0.0.1', port, path: pathname + search, method: incoming.method, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      },
    )
    onward.on('error', () => outgoing.writeHead(502).end())
    incoming.pipe(onward)
  }
  const server = createServer(forward)
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  server.on('connect', (incoming, socket, head) => {
    asked.push(`CONNECT ${incoming.url}`)
    if (!answers) return
    if (isRefused(incoming)) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const port = Number(/:(\d+)$/.exec(incoming.url ?? '')?.[1])
    const onward = connect({ host: '127.0.0.1', port }, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.write(head)
      socket.on('data', (bytes) => seen.push(bytes))
      onward.on('data', (bytes) => seen.push(bytes))
      socket.pipe(onward).pipe(socket)
    })
    onward.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'))
    socket.on('error', () => onward.destroy()).on('close', () => onward.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    asked,
    tunnelled: () => Buffer.concat(seen),
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
