import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the range from which the kernel takes ports of outgoing connections and of `listen(0)`: until one is used, none
 * of those takes it. Fewer than from a Redis node's port to its bus, which is 10,000 above.
 */
const PORTS = { from: 12_000, many: 8_000 }

/**
 * A port that was free a moment ago.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.from + PORTS.many)
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch {
      continue
    }
    server.close()
    await once(server, 'close')
    return port
  }
}
