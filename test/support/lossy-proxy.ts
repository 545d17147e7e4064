import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A TCP proxy that can lose replies: the server has done what was asked, and nobody is told. */
export class LossyProxy {
  readonly port: number
  readonly #server: Server
  readonly #sockets: Set<Socket>
  readonly #state: { losesReplies: boolean; lost: number }

  private constructor(server: Server, sockets: Set<Socket>, state: { losesReplies: boolean; lost: number }) {
    this.#server = server
    this.#sockets = sockets
    this.#state = state
    this.port = (server.address() as { port: number }).port
  }

  static async before(port: number): Promise<LossyProxy> {
    const sockets = new Set<Socket>()
    const state = { losesReplies: false, lost: 0 }
    const server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1')
      for (const socket of [client, upstream]) {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          sockets.delete(socket)
          client.destroy()
          upstream.destroy()
        })
      }
      client.pipe(upstream)
      upstream.on('data', (reply) => {
        if (state.losesReplies) {
          state.lost++
          client.destroy()
        } else client.write(reply)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new LossyProxy(server, sockets, state)
  }

  /** How many replies (or parts of them) were lost. */
  get lost(): number {
    return this.#state.lost
  }

  /** From now on each reply is lost, and with it the connection. */
  loseReplies(lose: boolean): void {
    this.#state.losesReplies = lose
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}
