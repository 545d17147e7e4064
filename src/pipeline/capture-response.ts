import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** A response as far as it was written; the body is null where it is larger than allowed. */
export interface CapturedResponse {
  status: number
  headers: OutgoingHttpHeaders
  body: Buffer | null
}

/** Keeps a copy of all that is written to a response. @returns a function that gives the copy */
export function captureResponse(outgoing: ServerResponse, maxBytes: number): () => CapturedResponse {
  let chunks: Buffer[] = []
  let size = 0
  let headers: OutgoingHttpHeaders = {}
  const take = (chunk: unknown) => {
    if (!(chunk instanceof Uint8Array) && typeof chunk !== 'string') return
    size += chunk.length
    if (size > maxBytes) chunks = []
    else chunks.push(Buffer.from(chunk as Uint8Array))
  }
  const { writeHead, write, end } = outgoing
  outgoing.writeHead = ((...args: unknown[]) => {
    headers = args.at(-1) as OutgoingHttpHeaders
    return Reflect.apply(writeHead, outgoing, args)
  }) as typeof writeHead
  outgoing.write = ((...args: unknown[]) => {
    take(args[0])
    return Reflect.apply(write, outgoing, args)
  }) as typeof write
  outgoing.end = ((...args: unknown[]) => {
    take(args[0])
    return Reflect.apply(end, outgoing, args)
  }) as typeof end
  return () => ({ status: outgoing.statusCode, headers, body: size > maxBytes ? null : Buffer.concat(chunks) })
}
