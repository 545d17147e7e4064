import type { Invalidation } from '../store.ts'
import { createSubscriber, endSubscription, type RedisClient } from './connection.ts'
import * as keys from './keys.ts'
import { redisCause } from './trouble.ts'

const HEARTBEAT_MS = 1_000
/** Numbers that Redis took and that did not come back, before the subscription is taken for dead. */
const UNHEARD = 2

/**
 * What a client says when a connection broke or came back; a cluster's does not say which one carried the subscription.
 */
const INTERRUPTIONS = ['close', 'ready', '+node', '-node', 'node error']

/**
 * Listens to what replicas publish. A subscription that breaks loses messages without a word. So this one sends itself
 * a number every second: when a connection broke or a number is missing, changes may be missing too, and with the next
 * number, which proves that it hears again, `{ kind: 'all' }` is told. A change is thus seen at once, or within a
 * second or two of the subscription's return. A connection that is open but dead says nothing at all: where Redis takes
 * our numbers and they do not come back, it is ended, and nothing cached is believed until another one hears.
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
  #unheard = 0
  #interrupted = false
  #problem: string | null = null

  constructor(client: RedisClient, replica: string, emit: (change: Invalidation) => void) {
    this.#client = client
    this.#own = keys.heartbeatChannel(replica)
    this.#emit = emit
    this.#subscriber = createSubscriber(client)
    this.#subscriber.on('message', (channel: string, message: string) => this.#receive(channel, message))
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS).unref()
    for (const event of INTERRUPTIONS) {
      this.#subscriber.on(event, () => {
        this.#interrupted ||= this.#subscribed
      })
    }
    client.once('ready', () => void this.#subscribe())
  }

  /** Why nothing is heard of what others change; null while it is, or where there is no connection at all. */
  get problem(): string | null {
    return this.#problem
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
      this.#problem = null
    } catch (error) {
      this.#problem = `what other processes change is not heard: ${redisCause(error)}`
      if (!this.#closed) setTimeout(() => void this.#subscribe(), HEARTBEAT_MS).unref()
    }
  }

  #beat(): void {
    if (this.#client.status !== 'ready') return
    if (!this.#subscribed) {
      // This user may do all else: nothing cached is believed.
      if (this.#problem !== null) this.#emit({ kind: 'all' })
      return
    }
    if (this.#unheard >= UNHEARD) {
      if (this.#unheard % UNHEARD === 0) endSubscription(this.#subscriber)
      this.#emit({ kind: 'all' })
    }
    this.#client.publish(this.#own, String(++this.#sent)).then(
      () => this.#unheard++,
      () => undefined,
    )
  }

  #receive(channel: string, message: string): void {
    if (channel === keys.CHANGES) {
      this.#emit(JSON.parse(message))
      return
    }
    this.#unheard = 0
    const number = Number(message)
    if (this.#interrupted || number !== this.#heard + 1) this.#emit({ kind: 'all' })
    this.#interrupted = false
    this.#heard = number
  }
}
