import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

const SERVER = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}).pipe(socket))
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`

/** A socket whose other side sends each byte back, by a thread of its own: also while this one is busy. */
export async function echo(): Promise<{ client: Socket; close: () => Promise<unknown> }> {
  const server = new Worker(SERVER, { eval: true })
  const [port] = (await once(server, 'message')) as [number]
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  return {
    client,
    close: () => {
      client.destroy()
      return server.terminate()
    },
  }
}
