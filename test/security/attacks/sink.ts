import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A server beside the gateway that takes the same bytes and does nothing: what an attack costs the machine alone. */
const server = createServer((request, response) => {
  request.resume()
  request.once('end', () => response.writeHead(429).end())
  request.once('error', () => {})
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
