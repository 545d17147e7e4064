/** One event of a chat completion stream. */
export const frame = (chunk: unknown): Buffer => Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`)

/** The event that ends a stream. */
export const DONE_FRAME = Buffer.from('data: [DONE]\n\n')
