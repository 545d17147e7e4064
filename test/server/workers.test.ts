import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway } from '../support/gateway.ts'

// Several processes behind one port: `server.workers`.

let gateway: RunningGateway

const count = (what: string) => gateway.stdout().split(`"msg":"${what}"`).length - 1
const workers = () => {
  const { pid } = gateway.process
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}
const ask = async () => {
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    // Connections are what workers share.
    headers: { authorization: `Bearer ${gateway.key}`, connection: 'close' },
    body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'What is 2 * 3?' }] }),
  })
  await answer.arrayBuffer()
  return answer.status
}
const answered = (metrics: string) =>
  [...metrics.matchAll(/^persona_router_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0)

beforeAll(async () => {
  gateway = await startGateway({ server: { workers: 2 } })
  await eventually(() => count('listening') === 2, 'both listening', 25_000)
})
afterAll(() => discard(gateway))

it('answers from all workers; any of them gives the metrics of all', async () => {
  const statuses = await Promise.all(Array.from({ length: 20 }, ask))
  expect(statuses).toEqual(Array(20).fill(200))
  for (let i = 0; i < 2; i++) {
    const metrics = await fetch(`${gateway.url}/metrics`, { headers: { connection: 'close' } })
    expect(answered(await metrics.text())).toBe(20)
  }
})

it('reloads all of them when the operator reaches one', async () => {
  const before = count('configuration reloaded')
  const headers = { authorization: `Bearer ${ADMIN_KEY}` }
  const answer = await fetch(`${gateway.url}/admin/config/reload`, { method: 'POST', headers })
  expect(answer.status).toBe(200)
  await eventually(() => count('configuration reloaded') === before + 2, 'both reloaded', 25_000)
  gateway.process.kill('SIGHUP')
  await eventually(() => count('configuration reloaded') === before + 4, 'both reloaded again', 25_000)
})

it.skipIf(process.platform !== 'linux')('starts a worker again that was killed, and goes on meanwhile', async () => {
  const [first, second] = workers()
  process.kill(second!, 'SIGKILL')
  await eventually(() => count('a worker ended') === 1, 'the end of it noticed')
  expect(await ask()).toBe(200)
  await eventually(() => count('listening') === 3, 'a third listening', 25_000)
  expect(workers()).toHaveLength(2)
  expect(workers()).toContain(first)
  expect(workers()).not.toContain(second)
  expect(await ask()).toBe(200)
})

it('drains all of them on SIGTERM', async () => {
  expect(await gateway.stop()).toBe(0)
  expect(count('bye')).toBe(2)
})

it('ends with the first worker where none can start', async () => {
  const broken = { server: { workers: 2 }, store: { kind: 'sqlite', path: '/dev/null/gateway.db' } }
  await expect(startGateway(broken)).rejects.toThrow(/ended with 1/)
})
