/** The same bytes in memory that holds nothing else, so that another thread may have them; copied where need be. */
export function inOwnMemory(bytes: Buffer): Buffer<ArrayBuffer> {
  const isAlone = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
  if (isAlone) return bytes as Buffer<ArrayBuffer>
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
