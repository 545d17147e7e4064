import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'

const CHECK_MS = 100

/**
 * As people put one in front of replicas: asks `/readyz` all the time, sends requests in turn to those that are not
 * down, and keeps connections open. It never sends a request a second time.
 */
export class Balancer {
  readonly #server: Server
  readonly #agent = new Agent({ keepAlive: true })
  readonly #timer: NodeJS.Timeout
  #backends: { url: string; ready: boolean }[] = []
  #turn = 0
  url = ''

  constructor() {
    this.#server = createServer((incoming, outgoing) => this.#pass(incoming, outgoing))
    this.#timer = setInterval(() => void this.check(), CHECK_MS)
  }

  static async start(...urls: string[]): Promise<Balancer> {
    const balancer = new Balancer()
    await new Promise<void>((listening) => balancer.#server.listen(0, '127.0.0.1', listening))
    balancer.url = `http://127.0.0.1:${(balancer.#server.address() as { port: number }).port}`
    for (const url of urls) balancer.add(url)
    await balancer.check()
    return balancer
  }

  add(url: string): void {
    this.#backends.push({ url, ready: false })
  }

  remove(url: string): void {
    this.#backends = this.#backends.filter((backend) => backend.url !== url)
  }

  async check(): Promise<void> {
    await Promise.all(
      this.#backends.map(async (backend) => {
        backend.ready = await fetch(`${backend.url}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        )
      }),
    )
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const ready = this.#backends.filter((backend) => backend.ready)
    const backend = ready[this.#turn++ % ready.length]
    if (!backend) {
      outgoing.writeHead(502).end()
      return
    }
    const { method, url, headers } = incoming
    const asked = request(backend.url + url, { method, headers, agent: this.#agent } as object, (answer) => {
      const { connection: _, ...rest } = answer.headers
      outgoing.writeHead(answer.statusCode ?? 502, rest)
      answer.pipe(outgoing)
      answer.once('error', () => outgoing.destroy())
    })
    asked.once('error', () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()))
    outgoing.once('close', () => outgoing.writableFinished || asked.destroy())
    incoming.pipe(asked)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#agent.destroy()
    this.#server.closeAllConnections()
    await new Promise((closed) => this.#server.close(closed))
  }
}
