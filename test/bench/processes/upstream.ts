/**
 * The provider of the bench: a plain answer, or a stream of N events, from bytes made beforehand, over bare TCP so that
 * it costs little. `x-bench-chunks` in the request's body (`"bench_chunks":N`) says how many events,
 * `"bench_idle":true` that the stream stays open. Sends its port to the parent.
 */
import { createServer, type Socket } from 'node:net'
import { chunkOf, completionBody, usageChunk } from '../../support/upstream.ts'

/** Between two events of one stream, so that they come in packets of their own. */
const GAP_MS = 2

const plainBody = Buffer.from(JSON.stringify(completionBody('A short answer of a few words. '.repeat(8))))
const plain = Buffer.concat([
  Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${plainBody.length}\r\n\r\n`),
  plainBody,
])
const framed = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const eventOf = (data: unknown) => framed(`data: ${JSON.stringify(data)}\n\n`)
const head = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n' +
    eventOf(chunkOf({ role: 'assistant', content: 'It' })),
)
const word = Buffer.from(eventOf(chunkOf({ content: ' word' })))
const last = Buffer.from(`${eventOf(chunkOf({}, 'stop'))}${eventOf(usageChunk)}${framed('data: [DONE]\n\n')}0\r\n\r\n`)

/** Streams in work, and how many events each still gets. */
const streams = new Map<Socket, number>()
setInterval(() => {
  for (const [socket, left] of streams) {
    socket.write(left > 0 ? word : last)
    if (left > 0) streams.set(socket, left - 1)
    else streams.delete(socket)
  }
}, GAP_MS)

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {})
  socket.on('close', () => streams.delete(socket))
  let pending: Buffer = Buffer.alloc(0)
  let missing = 0
  let tail = ''
  socket.on('data', (data) => {
    if (missing > 0) {
      missing -= data.length
      tail = (tail + data.toString('latin1')).slice(-256)
    } else {
      pending = pending.length > 0 ? Buffer.concat([pending, data]) : data
      const end = pending.indexOf('\r\n\r\n')
      if (end < 0) return
      const length = Number(/content-length: *(\d+)/i.exec(pending.toString('latin1', 0, end))?.[1] ?? 0)
      missing = end + 4 + length - pending.length
      tail = pending.toString('latin1', Math.max(0, pending.length - 256))
    }
    if (missing > 0) return
    pending = Buffer.alloc(0)
    answer(socket, tail)
  })
})

/** Knobs are the last fields of the body, whatever its size. */
function answer(socket: Socket, tail: string): void {
  const chunks = /"bench_chunks":(\d+)/.exec(tail)?.[1]
  if (chunks === undefined) {
    socket.write(plain)
    return
  }
  socket.write(head)
  if (!tail.includes('"bench_idle":true')) streams.set(socket, Number(chunks) - 1)
}

server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  const address = server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : null })
})
process.once('disconnect', () => process.exit(0))
