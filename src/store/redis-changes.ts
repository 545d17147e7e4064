import { createSubscriber, type RedisClient } from './redis-connection.ts'
import * as keys from './redis-keys.ts'
import type { Invalidation } from './store.ts'

const HEARTBEAT_MS = 1_000

/**
 * Listens to what replicas publish. A subscription that breaks loses messages without a word, so this one also sends itself a number every second: when it
 * misses one, changes may be missing too, and `{ kind: 'all' }` is told. So a change is seen at once, or within a second or two of the subscription's return.
 */
export class ChangeChannel {
  readonly #client: RedisClient
  readonly #subscriber: RedisClient
  readonly #own: string
  readonly #emit: (change: Invalidation) => void
  readonly #heartbeat: NodeJS.Timeout
  #subscribed = false
  #closed = false
  #sent = 0
  #heard = 0

  constructor(client: RedisClient, replica: string, emit: (change: Invalidation) => void) {
    this.#client = client
    this.#own = keys.heartbeatChannel(replica)
    this.#emit = emit
    this.#subscriber = createSubscriber(client)
    this.#subscriber.on('message', (channel: string, message: string) => this.#receive(channel, message))
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS).unref()
    client.once('ready', () => void this.#subscribe())
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#heartbeat)
    if (this.#subscriber !== this.#client) this.#subscriber.disconnect()
  }

  /** Once: ioredis subscribes again by itself whenever it reconnects. */
  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(keys.CHANGES, this.#own)
      this.#subscribed = true
    } catch {
      if (!this.#closed) setTimeout(() => void this.#subscribe(), HEARTBEAT_MS).unref()
    }
  }

  #beat(): void {
    if (!this.#subscribed || this.#client.status !== 'ready') return
    this.#client.publish(this.#own, String(++this.#sent)).catch(() => undefined)
  }

  #receive(channel: string, message: string): void {
    if (channel === keys.CHANGES) {
      this.#emit(JSON.parse(message))
      return
    }
    const number = Number(message)
    if (number !== this.#heard + 1) this.#emit({ kind: 'all' })
    this.#heard = number
  }
}
