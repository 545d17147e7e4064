import { IncomingMessage } from 'node:http'

/**
 * Bytes of large bodies that are taken in one turn of the event loop, all connections together: a quarter of a
 * millisecond. libuv alone takes up to 2 MB of each connection that has so much, one after the other.
 */
const BYTES_A_TURN = 256 * 1024
/** What one read gives at most. */
const BYTES_A_READ = 64 * 1024

interface Paced {
  message: IncomingMessage
  /** Whoever reads it has asked for more since it waits. */
  isWanted: boolean
}

/**
 * Shares the event loop between bodies that arrive and everything else. Beyond so many bytes in a turn, each connection
 * that brings more waits, and they go on one after the other, a few a turn: whoever asks for something small waits no
 * longer than that.
 */
export class Pace {
  #left = BYTES_A_TURN
  #isCounting = false
  readonly #waiting = new Set<Paced>()

  /** To be called before anything of the body is read. Small bodies, one read each, are not worth it. */
  watch(message: IncomingMessage): void {
    if (!isLarge(message)) return
    const paced: Paced = { message, isWanted: false }
    const push = message.push
    message.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
      const wantsMore = push.call(message, chunk, encoding)
      if (chunk !== null) this.#took(paced, chunk.length)
      return wantsMore
    }
    message._read = () => {
      if (this.#waiting.has(paced)) paced.isWanted = true
      else take(paced)
    }
    // Node drops the rest of a body that nobody has read, and would not tell us.
    ;(message as unknown as { _dump(): void })._dump = () => void message.resume()
  }

  get waiting(): number {
    return this.#waiting.size
  }

  #took(paced: Paced, bytes: number): void {
    this.#left -= bytes
    if (!this.#isCounting) {
      this.#isCounting = true
      setImmediate(this.#onTurn)
    }
    if (this.#left > 0) return
    this.#waiting.add(paced)
    paced.message.socket.pause()
  }

  readonly #onTurn = (): void => {
    this.#left = BYTES_A_TURN
    this.#isCounting = this.#waiting.size > 0
    if (!this.#isCounting) return
    let reads = BYTES_A_TURN / BYTES_A_READ
    for (const paced of this.#waiting) {
      this.#waiting.delete(paced)
      if (goOn(paced) && --reads === 0) break
    }
    setImmediate(this.#onTurn)
  }
}

/** @returns whether more of it will come: what is whole goes on by itself, what nobody wants waits for whoever does */
function goOn(paced: Paced): boolean {
  const { message, isWanted } = paced
  if (!isWanted || message.complete || message.destroyed) return false
  take(paced)
  return true
}

function take(paced: Paced): void {
  paced.isWanted = false
  IncomingMessage.prototype._read.call(paced.message, BYTES_A_READ)
}

const isLarge = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > BYTES_A_READ
