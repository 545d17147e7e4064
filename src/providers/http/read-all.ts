import { UpstreamError } from '../provider.ts'

/** Of an error's body. It is of use only while it is small. */
export const MAX_ERROR_BYTES = 256 * 1024

/**
 * A whole body, in memory.
 *
 * @param onBytes called whenever some have come, with how many; where it throws, the upstream is closed
 * @throws UpstreamError `protocol` beyond `maxBytes`; the upstream is then closed
 */
export async function readAll(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  onBytes?: (bytes: number) => void,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxBytes) throw new UpstreamError('protocol', 'the provider sent more than we take')
    chunks.push(chunk)
    onBytes?.(chunk.length)
  }
  return chunks.length === 1 ? asBuffer(chunks[0] as Uint8Array) : Buffer.concat(chunks, size)
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
