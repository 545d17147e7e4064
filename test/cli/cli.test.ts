import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call, complete } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

let gateway: RunningGateway

beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => discard(gateway))

const cli = (...args: string[]) => cliWith(gateway.configFile, ...args)
const cliWith = (config: string, ...args: string[]) =>
  spawnSync(process.execPath, ['bin/persona-router.mjs', '--config', config, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PERSONA_ROUTER_KEY: gateway.key },
  })

describe('keys', () => {
  it('are shown once, work at once, and are kept as a hash', async () => {
    const made = cli('keys', 'create', '--tenant', 'test', '--name', 'ci')
    expect(made.status).toBe(0)
    const key = made.stdout.trim()
    expect(key).toMatch(/^pr-[\w-]{43}$/)
    expect((await call(gateway, '/v1/models', { key })).status).toBe(200)
    const listed = cli('keys', 'list', '--json').stdout
    expect(listed).toContain('"name":"ci"')
    expect(listed + cli('keys', 'list').stdout).not.toContain(key)
    expect(readFileSync(join(gateway.dir, 'gateway.db')).includes(key)).toBe(false)
  })

  it('and users are listed in a line each, whatever their names hold', async () => {
    const [user, name] = ['eve\u001b[2J\nacme', 'n\u009b1m\tx']
    expect(cli('keys', 'create', '--tenant', 'test', '--user', user, '--name', name).status).toBe(0)
    const rows = cli('keys', 'list').stdout.split('\n')
    expect(
      rows.filter((row) => row.includes('eve\\u{1b}[2J\\u{a}acme') && row.endsWith('n\\u{9b}1m\\u{9}x')),
    ).toHaveLength(1)
  })

  it('end when revoked or expired', async () => {
    const key = cli('keys', 'create', '--tenant', 'test', '--name', 'short').stdout.trim()
    expect((await call(gateway, '/v1/models', { key })).status).toBe(200)
    const { id } = cli('keys', 'list', '--json')
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .find(({ name }) => name === 'short')
    expect(cli('keys', 'revoke', id).status).toBe(0)
    await expect.poll(async () => (await call(gateway, '/v1/models', { key })).status, { timeout: 6_000 }).toBe(401)
    const second = String(1 / 86_400)
    const expiring = cli('keys', 'create', '--tenant', 'test', '--expires', second).stdout.trim()
    await expect
      .poll(async () => (await call(gateway, '/v1/models', { key: expiring })).status, { timeout: 6_000 })
      .toBe(401)
  })

  it('may be limited to some candidates', async () => {
    const key = cli('keys', 'create', '--tenant', 'test', '--models', 'sandbox-terse').stdout.trim()
    const { data } = (await (await call(gateway, '/v1/models', { key })).json()) as { data: { id: string }[] }
    expect(data.map(({ id }) => id).filter((id) => !id.startsWith('auto'))).toEqual(['sandbox-terse'])
    const refused = await complete(gateway, { model: 'sandbox-premium' }, { key })
    expect([refused.status, (await refused.json()).error.code]).toEqual([404, 'model_not_found'])
    const routed = await complete(gateway, {}, { key })
    expect(routed.headers.get('x-router-model')).toBe('sandbox-terse')
  })

  it.each([
    [['--tenant', 'nobody'], "no tenant 'nobody'; there are: test"],
    [
      ['--tenant', 'test', '--models', 'default,sandbox-ters'],
      "no candidate or group 'sandbox-ters'; it has: default, sa",
    ],
    [['--tenant', 'test', '--expires', '2020-01-01'], '2020-01-01T00:00:00.000Z is over'],
    [['--tenant', 'test', '--expires', '0'], 'is over'],
  ])('create %j would be of no use: told plainly', (args, message) => {
    expect(cli('keys', 'create', ...args)).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining(message),
    })
  })

  it('a key that is not there: told plainly', () => {
    expect(cli('keys', 'revoke', 'none')).toMatchObject({ status: 1, stderr: expect.stringContaining("no key 'none'") })
  })
})

it('explain prints the table of a running gateway', () => {
  const { stdout, status } = cli('explain', 'What is 12 * 7?', '--url', gateway.url, '--user', 'ada')
  expect(status).toBe(0)
  expect(stdout).toMatch(/> sandbox-\w+ +-?\d\.\d{3} ± \d\.\d{3}/)
  expect(stdout.match(/sandbox-/g)?.length).toBeGreaterThan(4)
})

it.each([
  [['explain', 'hi', '--url', 'http://127.0.0.1:1'], 'No gateway answers at http://127.0.0.1:1: '],
  [['import', 'not-there.jsonl'], 'ENOENT'],
])('%j fails with a line, not a stack', (args, message) => {
  const { status, stderr } = cli(...args)
  expect(status).toBe(1)
  expect(stderr).toContain(message)
  expect(stderr).not.toContain('    at ')
  expect(stderr.trim().split('\n')).toHaveLength(1)
})

it('export writes what import reads back, into another store', async () => {
  const answer = await complete(gateway, {}, { user: 'ada' })
  await answer.text()
  const request_id = answer.headers.get('x-request-id')
  expect((await call(gateway, '/v1/feedback', { body: { request_id, rating: 'up' } })).status).toBe(202)
  const lines = () => cli('export', '--since', '1').stdout.trim().split('\n').sort()
  await expect
    .poll(() => lines().filter((line) => line.includes(String(request_id))).length, { timeout: 10_000 })
    .toBe(2)

  const dir = mkdtempSync(join(tmpdir(), 'import-'))
  const config = join(dir, 'gateway.yaml')
  const file = join(dir, 'log.jsonl')
  writeFileSync(
    config,
    `store: { kind: sqlite, path: ${JSON.stringify(join(dir, 'other.db'))} }\ntenants: [{ name: test }]\n`,
  )
  writeFileSync(file, `${lines().join('\n')}\n`)
  expect(cliWith(config, 'import', file).status).toBe(0)
  expect(cliWith(config, 'import', file).status).toBe(0)
  expect(cliWith(config, 'export').stdout.trim().split('\n').sort()).toEqual(lines())
  rmSync(dir, { recursive: true })
})

describe('config', () => {
  it('check tells what only a server that lists its models could have', () => {
    const file = join(gateway.dir, 'discover.yaml')
    const local = 'providers: { local: { kind: openai-compatible, base_url: "http://127.0.0.1:1/v1", discover: true } }'
    writeFileSync(file, `${local}\ntenants: [{ name: test, candidates: [default, local/llama] }]\n`)
    const { status, stdout } = cliWith(file, 'config', 'check')
    expect(status).toBe(0)
    expect(stdout).toContain("tenants.0.candidates: 'local/llama' is neither a candidate nor a group here")
    expect(stdout).not.toContain("'default'")
  })

  it('check says that a file is good, or names each mistake', () => {
    expect(cli('config', 'check')).toMatchObject({ status: 0, stdout: expect.stringContaining('good') })
    const file = join(gateway.dir, 'bad.yaml')
    writeFileSync(file, 'server: { port: seven }\n')
    expect(cliWith(file, 'config', 'check')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('server.port'),
    })
  })
})
