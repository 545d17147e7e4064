import { Redis } from 'ioredis'
import { causeOf, codeOf } from '../../runtime/error-cause.ts'
import type { RedisClient } from './connection.ts'

const CLOSED = 'it closed the connection'

/** What Redis says, and what an operator can do about it. The first that fits counts. */
const ADVICE: readonly [said: RegExp, advice: string][] = [
  [/\bsentinels?\b.*\bNOAUTH\b/is, 'NOAUTH: the Sentinels want a password (store.sentinel.password)'],
  [
    /\bsentinels?\b.*(\bWRONGPASS\b|invalid password)/is,
    'WRONGPASS: the Sentinels do not take this user name and password (store.sentinel.password)',
  ],
  [/\bNOAUTH\b/, 'NOAUTH: it wants a password (store.password)'],
  [/\bWRONGPASS\b|invalid password/, 'WRONGPASS: it does not take this user name and password'],
  [/\bNOPERM\b.*\bchannel/is, 'NOPERM: this user may not use channels: they need &pr:* (docs/operation.md)'],
  [/\bNOPERM\b.*\bkey/is, 'NOPERM: this user may not use all keys that begin with pr: (docs/operation.md)'],
  [/\bNOPERM\b/, 'NOPERM: this user may not run all commands that the gateway does (docs/operation.md)'],
  [/DB index is out of range/, 'it has no database of that number (store.url)'],
  [/cluster support disabled/, 'it is no Redis Cluster: name it by store.url'],
  [/\b(MOVED|ASK)\b/, 'MOVED: it belongs to a Redis Cluster: name its nodes by store.cluster'],
  [/\bREADONLY\b/, 'READONLY: it is a replica, which takes no writes: name its master, or the Sentinels'],
  [/unknown command .?sentinel/i, 'what should be a Sentinel is none (store.sentinel.nodes)'],
  [/All sentinels are unreachable/, 'no Sentinel answers (store.sentinel.nodes)'],
  [/\bUnknown RESP type\b|\bProtocol error\b/i, 'what answers there is no Redis (store.url)'],
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

/** Of a server that is full only this is seen, for what it says is lost. */
const CUT_OFF = ['EPIPE', 'ECONNRESET']
const ROOM = '. Is it a Redis? Has it room for more connections (maxclients)?'

/** What keeps a client from its Redis. */
export class RedisTrouble {
  #last: string | null = null
  #wrongDatabase = false
  /** Before the first attempt is over: a host that drops packets, or takes the handshake of TLS for a long command. */
  #silence: string | null

  constructor(client: RedisClient) {
    const hint = hasTls(client) ? '; over TLS: does it speak that, at this port?' : ''
    const cutOffHint = hasTls(client) ? ROOM : `${ROOM} Does it want TLS (rediss://)?`
    this.#silence = `no answer yet to the attempt to connect${hint}`
    const note = (error: Error) => {
      const code = codeOf(error) ?? ''
      const cause = redisCause(error) + (code === 'ETIMEDOUT' ? hint : CUT_OFF.includes(code) ? cutOffHint : '')
      // ioredis keeps to itself why it did not get to a node.
      this.#last = cause === CLOSED && !(client instanceof Redis) ? 'no node of the Cluster answers' : cause
      if (WRONG_DATABASE.test(error.message)) this.#wrongDatabase = true
    }
    client.on('error', note)
    if (client instanceof Redis) client.on('connect', () => (this.#wrongDatabase = false))
    else client.on('node error', note)
    client.on('ready', () => {
      this.#silence = null
      if (!this.#wrongDatabase) this.#last = null
    })
  }

  /** Why there is no connection; null while there is one, or nothing is known. */
  get current(): string | null {
    return this.#last ?? this.#silence
  }

  /** ioredis goes on with database 0, which may be another's. */
  get isFatal(): boolean {
    return this.#wrongDatabase
  }
}

/** `rediss://` is put among the options by ioredis. */
const hasTls = (client: RedisClient): boolean =>
  Boolean(client instanceof Redis ? client.options.tls : client.options.redisOptions?.tls)
