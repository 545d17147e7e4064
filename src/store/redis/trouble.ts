import { Redis } from 'ioredis'
import { causeOf, codeOf } from '../../runtime/error-cause.ts'
import type { RedisClient } from './connection.ts'

const CLOSED = 'it closed the connection'

/** What Redis says, and what an operator can do about it. The first that fits counts. */
const ADVICE: readonly [said: RegExp, advice: string][] = [
  [/\bNOAUTH\b/, 'NOAUTH: it wants a password (store.password)'],
  [/\bWRONGPASS\b|invalid password/, 'WRONGPASS: it does not take this user name and password'],
  [/\bNOPERM\b/, 'NOPERM: this user may not do what the gateway does'],
  [/DB index is out of range/, 'it has no database of that number (store.url)'],
  [/cluster support disabled/, 'it is no Redis Cluster: name it by store.url'],
  [/\b(MOVED|ASK)\b/, 'MOVED: it belongs to a Redis Cluster: name its nodes by store.cluster'],
  [/\bREADONLY\b/, 'READONLY: it is a replica, which takes no writes: name its master, or the Sentinels'],
  [/unknown command .?sentinel/i, 'what should be a Sentinel is none (store.sentinel.nodes)'],
  [/All sentinels are unreachable/, 'no Sentinel answers (store.sentinel.nodes)'],
  [/^Connection is closed\.$/, CLOSED],
  [/No such master|are unreachable and no/i, 'the Sentinels know no master of that name (store.sentinel.name)'],
]

/** Why Redis can't be used, in an operator's words, without addresses. */
export function redisCause(error: unknown): string {
  const { message = '', lastNodeError } = (error ?? {}) as { message?: string; lastNodeError?: unknown }
  if (lastNodeError) return redisCause(lastNodeError)
  const advice = ADVICE.find(([said]) => said.test(message))?.[1]
  if (advice !== undefined) return advice
  return codeOf(error) === undefined ? message : causeOf(error)
}

/** A server that answers with this has another database than the configured one in use. */
const WRONG_DATABASE = /DB index is out of range/

/** What keeps a client from its Redis. */
export class RedisTrouble {
  #last: string | null = null
  #wrongDatabase = false

  constructor(client: RedisClient) {
    const note = (error: Error) => {
      const cause = redisCause(error)
      // ioredis keeps to itself why it did not get to a node.
      this.#last = cause === CLOSED && !(client instanceof Redis) ? 'no node of the Cluster answers' : cause
      if (WRONG_DATABASE.test(error.message)) this.#wrongDatabase = true
    }
    client.on('error', note)
    if (client instanceof Redis) client.on('connect', () => (this.#wrongDatabase = false))
    else client.on('node error', note)
    client.on('ready', () => {
      if (!this.#wrongDatabase) this.#last = null
    })
  }

  /** Why there is no connection; null while there is one, or nothing is known yet. */
  get current(): string | null {
    return this.#last
  }

  /** ioredis goes on with database 0, which may be another's. */
  get isFatal(): boolean {
    return this.#wrongDatabase
  }
}
