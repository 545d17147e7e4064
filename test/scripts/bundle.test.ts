import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DIST, ENTRY, findEntry, isBundled } from '../../bin/bundle.mjs'
import { root } from '../../scripts/lib/paths.mjs'
import { call, complete, expectError, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'

/** A repository of its own, whose packages and artifacts are this one's. */
let folder: string
const bundled = () => join(folder, DIST, ENTRY)
const source = () => join(folder, 'src', 'cli', 'cli.ts')
const build = (...args: string[]) => spawnSync(process.execPath, [join(folder, 'scripts', 'build.mjs'), ...args])
const files = () => readdirSync(join(folder, DIST), { recursive: true, encoding: 'utf8' })

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'persona-router-bundle-'))
  for (const name of ['bin', 'scripts', 'src', 'config', 'package.json', 'package-lock.json']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  for (const name of ['node_modules', 'router-model']) symlinkSync(join(root, name), join(folder, name))
  expect(build()).toMatchObject({ status: 0 })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('which of the two runs', () => {
  const at = (path: string, seconds: number) => utimesSync(path, seconds, seconds)

  it('is the bundle, unless something that it was made of is newer', () => {
    const file = join(folder, 'src', 'errors.ts')
    expect(findEntry(folder)).toBe(bundled())
    for (const changed of [file, join(folder, 'src', 'server'), join(folder, 'package-lock.json')]) {
      at(changed, Date.now() / 1000 + 60)
      expect(findEntry(folder), changed).toBe(source())
      at(changed, Date.now() / 1000 - 3600)
      expect(findEntry(folder), changed).toBe(bundled())
    }
  })

  it('leaves the bundle before for those that run from it, where told to, and no other', () => {
    const folders = () => readdirSync(join(folder, DIST)).filter((name) => name !== ENTRY)
    const [first] = folders()
    expect(build('--beside')).toMatchObject({ status: 0 })
    expect(folders()).toHaveLength(2)
    expect(folders()).toContain(first)
    expect(build('--beside')).toMatchObject({ status: 0 })
    expect(folders()).toHaveLength(2)
    expect(folders()).not.toContain(first)
    expect(build()).toMatchObject({ status: 0 })
    expect(folders()).toHaveLength(1)
    expect(isBundled(folder)).toBe(true)
  })
})

it('has an entry for each thread that it starts', () => {
  const scripts = files().filter((name) => name.endsWith('.js'))
  const text = scripts.map((name) => readFileSync(join(folder, DIST, name), 'utf8')).join('\n')
  const threads = [...text.matchAll(/new URL\("\.\/([^"]+)", import\.meta\.url\)/g)].map(([, name]) => name)
  expect(threads.toSorted()).toEqual(['minilm-worker.js', 'parse-worker.js', 'wal-worker.js', 'worker.js'])
  for (const thread of threads) expect(scripts.some((name) => name.endsWith(`/${thread}`))).toBe(true)
  expect(text).not.toMatch(/new Worker\(new URL\("[^"]*\.ts"/)
})

describe('a gateway that runs from it', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>
  let gateway: RunningGateway

  beforeAll(async () => {
    // Whoever ran the sources would find nothing in them.
    for (const name of readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue
      writeFileSync(join(folder, 'src', name), '')
      utimesSync(join(folder, 'src', name), 0, 0)
    }
    redis = await startRedis()
    const store = { kind: 'redis', url: redis.url }
    const console = { enabled: true, read_key: 'pr-read-key-0123456789abcdef' }
    gateway = await startGateway({ store, console }, { root: folder, program: 'bin/persona-router.mjs' })
  })
  afterAll(async () => {
    await discard(gateway)
    await redis?.discard()
  })

  it('answers, and learns of what it is told', async () => {
    const answer = await complete(gateway, {}, { user: 'ada' })
    expect(answer.status).toBe(200)
    await answer.text()
    const id = answer.headers.get('x-request-id')
    const rated = await call(gateway, '/v1/feedback', { user: 'ada', body: { request_id: id, rating: 'up' } })
    expect(rated.status).toBeLessThan(300)
    await eventually(
      async () => (await explain(gateway, 'Why?', { user: 'ada' })).user.rewards === 1,
      'a reward learned',
    )
  })

  it('reads a large body in a thread of its own', async () => {
    const content = 'A long question. '.repeat(70_000)
    const answer = await complete(gateway, { messages: [{ role: 'user', content }] })
    // No candidate's window takes it, which is known only once it has been read.
    expect(expectError(await answer.text()).code).toBe('context_length_exceeded')
  })

  it('serves what lies beside the source', async () => {
    const page = await call(gateway, '/console/assets/app.js')
    expect(page.status).toBe(200)
  })

  it('drains and ends', async () => {
    expect(await gateway.stop()).toBe(0)
    expect(gateway.stdout()).toContain('"msg":"bye"')
  })
})
