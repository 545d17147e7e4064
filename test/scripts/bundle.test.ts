import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DIST, ENTRY, findEntry, isBundled, MADE, readMade } from '../../bin/bundle.mjs'
import { root } from '../../scripts/lib/paths.mjs'
import { call, complete, expectError, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'

/** A repository of its own, whose packages and artifacts are this one's. */
let folder: string
const bundled = () => join(folder, DIST, `${readMade(folder)?.folder}`, ENTRY)
const source = () => join(folder, 'src', 'cli', 'cli.ts')
const sources = () =>
  readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, 'src', name))
const build = (...args: string[]) => spawnSync(process.execPath, [join(folder, 'scripts', 'build.mjs'), ...args])
const files = () => readdirSync(join(folder, DIST), { recursive: true, encoding: 'utf8' })

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'persona-router-bundle-'))
  for (const name of ['bin', 'scripts', 'src', 'config', 'package.json', 'package-lock.json']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  for (const name of ['node_modules', 'router-model']) symlinkSync(join(root, name), join(folder, name))
  for (const path of sources()) utimesSync(path, 1, 1)
  expect(build()).toMatchObject({ status: 0 })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('which of the two runs', () => {
  const edited = (path: string, edit: (text: string) => string, check: () => void) => {
    const file = join(folder, path)
    const before = readFileSync(file, 'utf8')
    writeFileSync(file, edit(before))
    check()
    writeFileSync(file, before)
    utimesSync(file, 1, 1)
    expect(findEntry(folder), path).toBe(bundled())
  }

  it('is the bundle, as long as what it was made of says the same, whenever it was written', () => {
    expect(findEntry(folder)).toBe(bundled())
    for (const seconds of [Date.now() / 1000 + 60, 1]) {
      utimesSync(join(folder, 'src', 'errors.ts'), seconds, seconds)
      expect(findEntry(folder)).toBe(bundled())
    }
    for (const path of ['src/errors.ts', 'scripts/lib/bundle.mjs']) {
      const isSource = () => expect(findEntry(folder), path).toBe(source())
      edited(path, (text) => `${text}\n`, isSource)
      edited(path, (text) => text.replace('a', 'b'), isSource)
    }
  })

  it('is the bundle where the bundler is not at hand, as in the package', () => {
    const [here, away] = [join(folder, 'scripts'), join(folder, 'elsewhere')]
    renameSync(here, away)
    expect(findEntry(folder)).toBe(bundled())
    renameSync(away, here)
  })

  it('is the source where one is gone, or no bundle is whole', () => {
    const isSource = () => expect(findEntry(folder)).toBe(source())
    for (const path of [join(folder, 'src', 'errors.ts'), join(folder, DIST, MADE), bundled()]) {
      renameSync(path, `${path}.away`)
      isSource()
      renameSync(`${path}.away`, path)
    }
    edited(join(DIST, MADE), (text) => text.slice(0, -10), isSource)
    edited(join(DIST, MADE), (text) => text.replace('"tools"', '"others"'), isSource)
  })

  it('is the bundle in an installed package, whichever zod lies beside it: Node strips no types there', () => {
    const installed = join(folder, 'elsewhere', 'node_modules', 'persona-router')
    for (const name of ['bin', DIST, 'src', 'config', 'package.json']) {
      cpSync(join(folder, name), join(installed, name), { recursive: true })
    }
    symlinkSync(join(root, 'node_modules'), join(installed, 'node_modules'))
    symlinkSync(join(root, 'router-model'), join(installed, 'router-model'))
    writeFileSync(join(installed, 'src', 'errors.ts'), '')
    const help = spawnSync(process.execPath, [join(installed, 'bin', 'persona-router.mjs'), '--help'])
    expect(help).toMatchObject({ status: 0 })
    expect(String(help.stdout)).toContain('explain')
    rmSync(join(folder, 'elsewhere'), { recursive: true })
  })

  it('leaves the last three before for those that run from them, and none in a package', () => {
    const folders = () => readdirSync(join(folder, DIST)).filter((name) => name !== MADE)
    const [first] = folders()
    for (const count of [2, 3, 4, 4]) {
      expect(folders()).toContain(first)
      expect(build()).toMatchObject({ status: 0 })
      expect(folders()).toHaveLength(count)
    }
    expect(folders()).not.toContain(first)
    expect(build('--alone')).toMatchObject({ status: 0 })
    expect(folders()).toHaveLength(1)
    expect(isBundled(folder)).toBe(true)
  })
})

it('has the licence of each package inside', () => {
  const licences = readFileSync(join(folder, DIST, `${readMade(folder)?.folder}`, 'LICENSES'), 'utf8')
  expect(licences).toContain(readFileSync(join(root, 'node_modules', 'zod', 'LICENSE'), 'utf8').trim())
})

it('has an entry for each thread that it starts', () => {
  const scripts = files().filter((name) => name.endsWith('.js'))
  const text = scripts.map((name) => readFileSync(join(folder, DIST, name), 'utf8')).join('\n')
  const threads = [...text.matchAll(/new URL\("\.\/([^"]+)", import\.meta\.url\)/g)].map(([, name]) => name)
  expect(threads.toSorted()).toEqual(['minilm-worker.js', 'parse-worker.js', 'wal-worker.js', 'worker.js'])
  for (const thread of threads) expect(scripts.some((name) => name.endsWith(`/${thread}`))).toBe(true)
  expect(text).not.toMatch(/new Worker\(new URL\("[^"]*\.ts"/)
})

it('has an entry for each module that a thread loads by its place', async () => {
  const made = join(folder, DIST, `${readMade(folder)?.folder}`)
  const scripts = readdirSync(made).filter((name) => name.endsWith('.js'))
  const text = scripts.map((name) => readFileSync(join(made, name), 'utf8')).join('\n')
  const loaded = [...text.matchAll(/module: new URL\("\.\/([^"]+)", import\.meta\["url"\]\)\.href,\s+name: "(\w+)"/g)]
  expect(loaded.length).toBeGreaterThan(5)
  for (const [, file = '', name = ''] of loaded) {
    const { [name]: conversion } = await import(join(made, file))
    expect(conversion, `${name} of ${file}`).toMatchObject({ module: pathToFileURL(join(made, file)).href, name })
  }
  expect(text).not.toMatch(/module: new URL\("[^"]*\.ts"/)
})

describe('a gateway that runs from it', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>
  let gateway: RunningGateway

  beforeAll(async () => {
    // Whoever ran the sources would find nothing in them, and nobody reads what has its size and time.
    for (const path of sources()) {
      writeFileSync(path, ' '.repeat(statSync(path).size))
      utimesSync(path, 1, 1)
    }
    redis = await startRedis()
    const store = { kind: 'redis', url: redis.url }
    const console = { enabled: true, read_key: 'pr-read-key-0123456789abcdef' }
    gateway = await startGateway({ store, console }, { root: folder })
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
