import { closeSync, openSync, readSync } from 'node:fs'

const NEWLINE = 10

/** A file of lines that are delivered in order. */
export interface Segment {
  path: string
  size: number
  /** Everything before it is delivered. */
  offset: number
  /** Everything before it has been delivered at least once. */
  once: number
}

/** `bytes`: of the lines, and of what a dying process did not finish behind them. */
export interface Lines {
  lines: string[]
  bytes: number
  /** They have been delivered before. */
  isAgain: boolean
}

/** The next complete lines of a segment, about `maxBytes` of them but at least one; none where a torn one ends it. */
export function nextLines(segment: Segment, maxBytes: number): Lines {
  const { offset, once, size } = segment
  const isAgain = offset < once
  const left = (isAgain ? once : size) - offset
  for (let most = maxBytes; ; most *= 2) {
    const buffer = readAt(segment, Math.min(left, most))
    const end = buffer.lastIndexOf(NEWLINE) + 1
    if (end > 0) return { lines: buffer.toString('utf8', 0, end - 1).split('\n'), bytes: end, isAgain }
    if (buffer.length >= left || buffer.length < Math.min(left, most)) return { lines: [], bytes: left, isAgain }
  }
}

function readAt({ path, offset }: Segment, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes)
  const fd = openSync(path, 'r')
  try {
    let read = 0
    while (read < bytes) {
      const got = readSync(fd, buffer, read, bytes - read, offset + read)
      if (got === 0) break
      read += got
    }
    return buffer.subarray(0, read)
  } finally {
    closeSync(fd)
  }
}
