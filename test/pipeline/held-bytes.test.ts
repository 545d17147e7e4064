import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import type { GatewayError } from '../../src/errors.ts'
import { HeldBytes } from '../../src/pipeline/held-bytes.ts'

const KB = 1_024
const held = (max: number, maxPerTenant: number) => new HeldBytes({ max: max * KB, maxPerTenant: maxPerTenant * KB })

/** A body of which so many kilobytes have come. */
function arriving(all: HeldBytes, tenant: string, kilobytes: number) {
  const holding = all.open(tenant)
  const given: GatewayError[] = []
  holding.begin((error) => given.push(error))
  return { holding, given, refused: holding.take(kilobytes * KB) }
}

test('a tenant holds no more than its share, whatever is free', () => {
  const all = held(1_000, 300)
  expect(arriving(all, 'a', 200).refused).toBeNull()
  expect(arriving(all, 'a', 200).refused).toMatchObject({ status: 429, code: 'too_many_bytes', retryAfterS: 1 })
  expect(arriving(all, 'a', 100).refused).toBeNull()
  expect(all.open('a').refuses(1)).toMatchObject({ status: 429 })
  expect(all.open('b').refuses(300 * KB)).toBeNull()
  expect(all.total).toBe(300 * KB)
})

test('what ends is given back, once', () => {
  const all = held(1_000, 300)
  const { holding } = arriving(all, 'a', 250)
  holding.read()
  expect(all.total).toBe(250 * KB)
  holding.release()
  holding.release()
  expect(all.total).toBe(0)
})

test('where all hold too much, whoever holds most gives up the largest body that is arriving', () => {
  const all = held(1_000, 600)
  const [small, large] = [arriving(all, 'a', 100), arriving(all, 'a', 450)]
  const other = arriving(all, 'b', 400)
  const asking = arriving(all, 'c', 120)
  expect(asking.refused).toBeNull()
  expect(large.given).toMatchObject([{ status: 503, code: 'overloaded', retryAfterS: 1 }])
  expect([small.given, other.given, asking.given]).toEqual([[], [], []])
  expect(all.total).toBe((100 + 400 + 120) * KB)
})

test('whoever holds most itself is refused, and takes nothing from others', () => {
  const all = held(1_000, 600)
  const [a, b] = [arriving(all, 'a', 450), arriving(all, 'b', 500)]
  expect(arriving(all, 'b', 80).refused).toMatchObject({ status: 503, code: 'overloaded' })
  expect([a.given, b.given]).toEqual([[], []])
})

test('what has been read is answered, not given up', () => {
  const all = held(1_000, 600)
  const read = arriving(all, 'a', 600)
  read.holding.read()
  expect(arriving(all, 'b', 500).refused).toMatchObject({ status: 503 })
  expect(read.given).toEqual([])
})

test('hears once that a body is there, or that it will not come', () => {
  const all = held(1_000, 600)
  let heard = 0
  for (const end of ['read', 'release', 'giveUp'] as const) {
    const { holding } = arriving(all, 'a', 100)
    holding.whenRead(() => heard++)
    holding[end](new Error() as GatewayError)
    holding.release()
  }
  expect([heard, all.total]).toEqual([3, 0])
})

test('what comes when the request has ended is not taken: nobody would give it back', () => {
  const all = held(1_000, 600)
  const { holding } = arriving(all, 'a', 100)
  holding.release()
  for (let i = 0; i < 10; i++) {
    expect(holding.take(100 * KB)).toMatchObject({ status: 499, code: 'client_closed_request' })
  }
  expect(all.total).toBe(0)
  expect(arriving(all, 'a', 600).refused).toBeNull()
})

test('whoever asks to hear of a body when the request has ended hears at once', () => {
  const { holding } = arriving(held(1_000, 600), 'a', 100)
  holding.release()
  let heard = 0
  holding.whenRead(() => heard++)
  expect(heard).toBe(1)
  holding.read()
  expect(heard).toBe(1)
})

test('a response that has ended already holds nothing', () => {
  const all = held(1_000, 600)
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  response.destroy()
  expect(all.openFor(response, 'a').take(100 * KB)).toMatchObject({ status: 499 })
  expect(all.total).toBe(0)
})
