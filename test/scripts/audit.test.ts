import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { advisoriesOf, judge } from '../../scripts/lib/advisories.mjs'
import { root } from '../../scripts/lib/paths.mjs'

const BULK = '/-/npm/v1/security/advisories/bulk'
const advisory = (severity: string) => ({
  id: 1_234,
  url: 'https://advisories.example/GHSA-1',
  title: 'It does too much',
  severity,
  vulnerable_versions: '<999',
  cwe: [],
  cvss: { score: 9, vectorString: null },
})

let registry: Server
let cache: string
let asked: Record<string, string[]> | undefined
let answer: (response: ServerResponse) => void

/** A registry as far as an audit asks it: advisories on many packages at once, and what versions a package has. */
async function onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  if (request.url === BULK) {
    const body = Buffer.concat(chunks)
    asked = JSON.parse((request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString())
    answer(response)
  } else if (request.url === '/hono') {
    const version = asked?.hono?.[0] ?? ''
    const versions = { [version]: { name: 'hono', version } }
    response.end(JSON.stringify({ name: 'hono', 'dist-tags': { latest: version }, versions }))
  } else {
    response.statusCode = 404
    response.end('{}')
  }
}

beforeEach(async () => {
  asked = undefined
  registry = createServer((request, response) => void onRequest(request, response))
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve))
  cache = mkdtempSync(join(tmpdir(), 'persona-router-npm-'))
})
afterEach(async () => {
  registry.closeAllConnections()
  await new Promise((resolve) => registry.close(resolve))
  rmSync(cache, { recursive: true, force: true })
})

const audit = (port = (registry.address() as AddressInfo).port) =>
  new Promise<{ code: number; output: string }>((resolve) => {
    const env = { ...process.env, npm_config_registry: `http://127.0.0.1:${port}/`, npm_config_cache: cache }
    execFile(process.execPath, [join(root, 'scripts/audit.mjs')], { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    )
  })

const reply = (advisories: object) => (response: ServerResponse) => void response.end(JSON.stringify(advisories))

describe('npm run audit, asking a registry', () => {
  test('tells it every package and version of the lock file, and passes where it knows nothing bad', async () => {
    answer = reply({})
    expect(await audit()).toEqual({ code: 0, output: 'npm: 0 advisories.\n' })
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
    const names = Object.keys(packages).flatMap((path) => path.split('node_modules/').at(-1) || [])
    expect(Object.keys(asked ?? {}).sort()).toEqual([...new Set(names)].sort())
    expect(asked?.hono).toEqual([packages['node_modules/hono'].version])
  })

  test('fails for an advisory of high severity', async () => {
    answer = reply({ hono: [advisory('high')] })
    const { code, output } = await audit()
    expect(output).toContain('✗ high: hono <999: It does too much https://advisories.example/GHSA-1 [1234]')
    expect(code).toBe(1)
  })

  test('tells of a lesser one, and passes', async () => {
    answer = reply({ hono: [advisory('moderate')] })
    const { code, output } = await audit()
    expect(output).toContain('- moderate: hono')
    expect(code).toBe(0)
  })

  test.each([405, 503])('says that it could not ask, and passes, where the registry answers %i', async (status) => {
    answer = (response) => void response.writeHead(status).end()
    const { code, output } = await audit()
    expect(output).toMatch(/^npm: could not ask the registry for advisories \(.+\)\.\n$/)
    expect(code).toBe(0)
  })

  test('says so where nobody is there', async () => {
    const { code, output } = await audit(1)
    expect(output).toContain('could not ask')
    expect(code).toBe(0)
  })
})

describe('accepted advisories', () => {
  const found = { id: 1_234, package: 'p', severity: 'critical', title: 't', url: 'u', range: '*' }
  const accepted = { id: 1_234, why: 'we never call it', until: '2026-06-01' }

  test('count again from their day on', () => {
    expect(judge([found], [accepted], new Date('2026-05-31T23:00:00Z')).passed).toBe(true)
    expect(judge([found], [accepted], new Date('2026-06-01T00:00:00Z')).passed).toBe(false)
  })

  test('are no others', () => {
    expect(judge([{ ...found, id: 5 }], [accepted], new Date('2026-01-01')).passed).toBe(false)
  })
})

test('what npm says without a registry’s answer is no advisory, and no all-clear', () => {
  for (const text of ['', '{}', '{"message":"request failed","error":{}}', '{"vulnerabilities":{}}']) {
    expect(advisoriesOf(text)).toHaveProperty('error')
  }
})
