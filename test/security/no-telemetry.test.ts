import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { inVenv, root, routerModel } from '../../scripts/lib/paths.mjs'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

const strace = spawnSync('strace', ['-V']).status === 0
/** Sends a request that embeds and scores, and a reward that runs the learning graphs. */
async function use({ url, key }: RunningGateway): Promise<void> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-user-id': 'ada' }
  const post = (path: string, body: object) =>
    fetch(`${url}/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  const answer = await post('/chat/completions', { model: 'auto', messages: [{ role: 'user', content: 'Why?' }] })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('x-router-reason')).not.toContain('fallback')
  await answer.text()
  const rated = await post('/feedback', { request_id: answer.headers.get('x-request-id'), rating: 'up' })
  expect(rated.status).toBe(202)
}

/** Addresses outside of this machine that a traced process connected or sent to. */
function foreignAddresses(trace: string): string[] {
  const sent = [...trace.matchAll(/(?:inet_addr\("|inet_pton\(AF_INET6, "(?:::ffff:)?)([^"]+)"/g)].map(([, to]) => to!)
  return sent.filter((to) => !/^(127\.|0\.0\.0\.0$|::1?$)/.test(to))
}

/** Runs what follows as a child of its own, and writes down what it connects and sends to; as it is without strace. */
const traced = (trace: string) =>
  strace ? ['strace', '-D', '-f', '-qq', '-e', 'trace=connect,sendto,sendmsg,sendmmsg', '-o', trace] : []

describe('telemetry of libraries', () => {
  let home: string
  let trace: string
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'persona-router-home-'))
    trace = `${home}.trace`
  })
  afterEach(() => {
    rmSync(home, { recursive: true, force: true })
    rmSync(trace, { force: true })
  })
  const foreign = () => (strace ? foreignAddresses(readFileSync(trace, 'utf8')) : [])

  test('the gateway leaves nothing in its home and asks nobody outside, from start to end', async () => {
    let gateway: RunningGateway | undefined
    try {
      gateway = await startGateway({}, { env: { HOME: home }, under: traced(trace) })
      await use(gateway)
      expect(await gateway.stop()).toBe(0)
      expect(readdirSync(home, { recursive: true })).toEqual([])
      expect(foreign()).toEqual([])
    } finally {
      await discard(gateway)
    }
  })

  test('nor does the Python package, which runs the same graphs', () => {
    const code = [
      'import glob, router_model, onnxruntime',
      "graphs = [onnxruntime.InferenceSession(path) for path in glob.glob('../test/fixtures/artifacts/tiny-1/*.onnx')]",
      'assert graphs',
    ].join('\n')
    const [command = '', ...args] = [...traced(trace), inVenv('python'), '-c', code]
    execFileSync(command, args, { cwd: routerModel, env: { PATH: process.env.PATH, HOME: home } })
    expect(readdirSync(home, { recursive: true })).toEqual([])
    expect(foreign()).toEqual([])
  })

  test('one file loads ONNX Runtime, and it comes after the switch', () => {
    const importers = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .filter((file) =>
        /(?:from |import\(|url\)\()'onnxruntime-node'/.test(readFileSync(join(root, 'src', file), 'utf8')),
      )
    expect(importers).toEqual([join('runtime', 'onnxruntime.ts')])
    const loader = readFileSync(join(root, 'src', importers[0] as string), 'utf8')
    // Bundled, an import of a package runs before all else.
    expect(loader).not.toMatch(/^(?!import type).*from 'onnxruntime-node'/m)
    expect(loader.indexOf("'./no-telemetry.ts'")).toBeLessThan(loader.indexOf("('onnxruntime-node')"))
  })

  test('the switch is the process’s before a thread that loads ONNX Runtime starts', () => {
    for (const file of ['routing/model/thread.ts', 'embedding/minilm-embedder.ts']) {
      const program = `await import(${JSON.stringify(join(root, 'src', file))}); console.log(process.env.ORT_DISABLE_TELEMETRY)`
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
        encoding: 'utf8',
        env: {},
      })
      expect(stdout.trim(), file).toBe('1')
    }
  })
})
