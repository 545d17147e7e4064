/** A collector of telemetry that takes all and keeps nothing. Sends its port to the parent, and then bytes taken. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

let bytes = 0
const server = createServer((request, response) => {
  request.on('data', (data: Buffer) => {
    if (request.url === '/v1/traces') bytes += data.length
  })
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end())
})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.on('message', () => process.send?.({ bytes }))
process.once('disconnect', () => process.exit(0))
