import { readFileSync } from 'node:fs'
import type { Script } from './upstream.ts'

export const fixture = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}`, import.meta.url))

export const fixtureJson = <T>(name: string): T => JSON.parse(fixture(name).toString('utf8')) as T

/** Answers with a recorded reply; streams in pieces that respect neither events nor characters. */
export const replyFixture =
  (name: string, status = 200, headers: Record<string, string> = {}): Script =>
  (exchange) => {
    const bytes = fixture(name)
    if (!name.endsWith('.sse')) return exchange.reply(status, bytes, headers)
    exchange.stream(headers)
    for (let at = 0; at < bytes.length; at += 97) exchange.chunk(bytes.subarray(at, at + 97))
    exchange.end()
  }
