import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { CommanderError } from 'commander'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { messageFor } from '../../src/cli/fail.ts'
import { createProgram } from '../../src/cli/program.ts'
import { serve } from '../../src/main.ts'
import { rewardLine } from '../../src/store/records/codec.ts'
import { aReward } from '../store/records.ts'
import { stubBucketEnv } from '../support/bucket.ts'
import { freePort } from '../support/redis.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** Each command is tried, as commander lists them, so that none is forgotten. */
const leaves = (command: Command, path: string[] = []): { path: string[]; command: Command }[] =>
  command.commands.length === 0
    ? [{ path, command }]
    : command.commands.flatMap((one) => leaves(one, [...path, one.name()]))
const ALL = leaves(createProgram(serve)).map(({ path, command }) => ({ name: path.join(' '), path, command }))

/** They read no configuration. */
const WITHOUT_CONFIG = new Set(['config schema', 'explain', 'artifact keys', 'artifact sign'])
/** They open no store. */
const WITHOUT_STORE = new Set([...WITHOUT_CONFIG, 'config check', 'catalogue show', 'catalogue update'])
const GARBAGE = 'no-such ☃'

const dir = mkdtempSync(join(tmpdir(), 'wrong-input-'))
const file = (name: string, text: string) => {
  writeFileSync(join(dir, name), text)
  return join(dir, name)
}
const catalogue = `catalogue: { file: ${join(dir, 'catalogue.json')}, source: "http://127.0.0.1:1/" }`
const good = file('good.yaml', `store: { kind: sqlite, path: ${join(dir, 'good.db')} }\n${catalogue}\n`)
const broken = file('broken.yaml', 'tenants: [{ name: secret-canary\nstore: }')
const invalid = file('invalid.yaml', 'server: { port: seven }\nsecret-canary: 1\n')
mkdirSync(join(dir, 'directory'))
const noFile = file('no-file.yaml', `store: { kind: sqlite, path: ${join(dir, 'directory')} }\n${catalogue}\n`)
const noRedis = file(
  'no-redis.yaml',
  `store: { kind: redis, url: "redis://:canary-word@127.0.0.1:${await freePort()}/2" }\n${catalogue}\n`,
)

afterEach(() => void vi.restoreAllMocks())

interface Said {
  failed: boolean
  text: string
}

/** Runs a command as `cli.ts` does; what is not told in words fails the test with its stack. */
async function run(config: string, args: string[]): Promise<Said> {
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const told: string[] = []
  const program = createProgram(serve)
  const each = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: (text) => told.push(text), writeOut: () => {} })
    command.commands.forEach(each)
  }
  each(program)
  try {
    await program.parseAsync(['--config', config, ...args], { from: 'user' })
    return { failed: false, text: '' }
  } catch (error) {
    const text = error instanceof CommanderError ? told.join('') : messageFor(error)
    if (text === null) throw error
    return { failed: true, text }
  }
}

/** Where a directory is wanted. */
const noDirectory = file('photo.jpg', '')
const nonsenseFor = (option: string) => (['--to', '--from'].includes(option) ? noDirectory : GARBAGE)

/** What a command needs at least: each value is nonsense. */
const needed = ({ path, command }: (typeof ALL)[number]) => [
  ...path,
  ...command.registeredArguments
    .filter(({ required }) => required)
    .map((argument) => (argument.name() === 'folder' ? noDirectory : GARBAGE)),
  ...command.options
    .filter(({ mandatory }) => mandatory)
    .flatMap(({ long }) => [long as string, nonsenseFor(long as string)]),
]

function expectWords({ failed, text }: Said): void {
  expect(failed).toBe(true)
  expect(text.trim()).not.toBe('')
  expect(text).not.toMatch(/^ {4}at |\bnode:internal|\[object |undefined|canary|enableOfflineQueue/m)
  expect(text.trim().split('\n').length).toBeLessThan(6)
}

describe.each(ALL)('$name', (one) => {
  const { name, path, command } = one

  it.skipIf(WITHOUT_CONFIG.has(name))('a configuration that is not there, or no file', async () => {
    for (const config of [join(dir, 'none.yaml'), dir]) {
      const said = await run(config, needed(one))
      expectWords(said)
      expect(said.text).toContain(`${config}:\n  can't be read: E`)
    }
  })

  it.skipIf(WITHOUT_CONFIG.has(name))('a configuration that is no YAML, or not valid', async () => {
    const noYaml = await run(broken, needed(one))
    expectWords(noYaml)
    expect(noYaml.text).toMatch(/line \d+, column \d+/)
    // Names of sections are told, values never.
    const notValid = await run(invalid, needed(one))
    expect(notValid.failed).toBe(true)
    expect(notValid.text).toContain('server.port: ')
  })

  it('an option that there is none of, and an argument too many', async () => {
    expectWords(await run(good, [...needed(one), '--nonsense']))
    expectWords(await run(good, [...needed(one), GARBAGE, GARBAGE, GARBAGE]))
  })

  it('values that mean nothing, or are missing', async () => {
    const wanted =
      command.registeredArguments.some(({ required }) => required) || command.options.some((o) => o.mandatory)
    if (wanted) vi.stubEnv('PERSONA_ROUTER_KEY', '')
    if (wanted) expectWords(await run(good, path))
    if (wanted) expectWords(await run(good, needed(one)))
    for (const { long, required, mandatory } of command.options) {
      if (!required) continue
      expectWords(await run(good, [...needed(one), long as string]))
      // A name may be anything; whatever is refused is refused in words.
      if (!mandatory) {
        const said = await run(good, [...needed(one), long as string, GARBAGE])
        if (said.failed) expectWords(said)
      }
    }
    vi.unstubAllEnvs()
  })

  it.skipIf(WITHOUT_STORE.has(name))('a store that can’t be opened, or is away', async () => {
    const said = await run(noFile, needed(one))
    expectWords(said)
    // The gateway itself starts without its Redis.
    if (name === 'serve') return
    const away = await run(noRedis, usable(one))
    expectWords(away)
    expect(away.text).toMatch(/redis:\/\/127\.0\.0\.1:\d+\/2: .*nothing listens there/)
  })
})

/** As `needed`, with a tenant that there is. */
const usable = (one: (typeof ALL)[number]) => {
  const args = needed(one)
  const at = args.indexOf('--tenant')
  if (at >= 0) args[at + 1] = 'default'
  const log = file('log.jsonl', `${rewardLine(aReward())}\n`)
  return one.name === 'import' ? ['import', log] : args
}

it('has a group of commands for each of these', () => {
  expect(ALL.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      ...['serve', 'keys create', 'config check', 'catalogue update', 'explain', 'export', 'import'],
      ...['backup', 'restore'],
    ]),
  )
})

describe('archive', () => {
  it.each([
    [['--to', 's3://'], 'the bucket is missing'],
    [['--to', 's3://key:canary@bucket/logs'], 'keys do not belong into an address'],
    [['--to', 's3://bucket/logs'], 's3://bucket/logs/: nothing listens there (ECONNREFUSED)'],
    [['--to', 'gs://bucket/logs'], 'expected a directory or s3://bucket/prefix'],
    [['--to', join(dir, 'a'), '--older-than', '0'], 'at least 1'],
    [['--to', join(dir, 'a'), '--older-than', '1.5'], 'Expected a whole number of days'],
    [['--to', join(dir, 'a'), '--keep', 'long'], 'Expected a whole number of days'],
    [['--to', good], 'EEXIST'],
    [['--to', join(dir, 'a'), '--tenant', 'nobody'], "There is no tenant 'nobody'"],
  ])('%s', { timeout: 60_000 }, async (args, message) => {
    stubBucketEnv('http://127.0.0.1:1')
    vi.stubEnv('AWS_MAX_ATTEMPTS', '1')
    const said = await run(good, ['archive', ...args])
    vi.unstubAllEnvs()
    expectWords(said)
    expect(said.text).toContain(message)
  })

  it('export and report of an archive that is not there, or is broken', async () => {
    for (const command of [['export'], ['report', '--tenant', 'default']]) {
      const none = await run(good, [...command, '--archive', join(dir, 'no-archive')])
      expectWords(none)
      expect(none.text).toContain('there is no archive')
    }
    mkdirSync(join(dir, 'empty-archive'))
    expect(await run(good, ['export', '--archive', join(dir, 'empty-archive')])).toMatchObject({ failed: false })
    const told = vi.mocked(process.stderr.write).mock.calls.join('')
    expect(told).toContain('empty-archive: nothing is archived there.')
    const day = join(dir, 'broken-archive', 'tenant=default', 'day=2026-11-28')
    mkdirSync(day, { recursive: true })
    writeFileSync(join(day, 'interactions-1-a.parquet'), 'nothing')
    const broken = await run(good, ['export', '--archive', join(dir, 'broken-archive')])
    expectWords(broken)
    expect(broken.text).toContain("interactions-1-a.parquet can't be read")
  })
})

describe('backup and restore', () => {
  const half = join(dir, 'half-backup')
  mkdirSync(half)
  writeFileSync(join(half, 'manifest.json'), '{"format":')
  it.each([
    [['backup', '--to', 's3://bucket/backup'], 'Expected a directory'],
    [['backup', '--to', dir], 'holds something else'],
    [['backup', '--to', good], 'EEXIST'],
    [['backup', '--to', half], half],
    [['backup', '--to', join(dir, 'no-backup'), '--verify'], 'holds no backup'],
    [['restore', '--from', 's3://bucket/backup'], 'Expected a directory'],
    [['restore', '--from', join(dir, 'no-backup')], 'holds no backup'],
    [['restore', '--from', dir], 'holds no backup'],
    [['restore', '--from', half], half],
    [['restore', '--from', half, '--verify'], half],
  ])('%s', async (args, message) => {
    const said = await run(good, args)
    expectWords(said)
    expect(said.text).toContain(message)
  })
})

it.each<[args: string[], named: string]>([
  [['import', dir], dir],
  [['catalogue', 'update', '--from', dir], dir],
  [['artifact', 'sign', dir, '--key', dir], dir],
  // No folder can be made there; asked to make all that is missing, Node tries for ever.
  ...['backup --to', 'archive --to', 'artifact keys']
    .filter(() => process.platform === 'linux')
    .map((command): [string[], string] => [[...command.split(' '), '/proc/no-such/x'], '/proc/no-such']),
])('what is given is named (%#)', async (args, named) => {
  const said = await run(good, args)
  expectWords(said)
  expect(said.text).toContain(`${named}: `)
})

it('artifact keys: a folder that is not there is made, keys that are there stay', async () => {
  const keys = join(dir, 'all', 'keys')
  expect(await run(good, ['artifact', 'keys', keys])).toEqual({ failed: false, text: '' })
  expect(statSync(keys).mode & 0o777).toBe(0o700)
  expect(readdirSync(keys).sort()).toEqual(['artifact-key.pem', 'artifact-key.pub.pem'])
  const before = readFileSync(join(keys, 'artifact-key.pem'))
  const again = await run(good, ['artifact', 'keys', keys])
  expectWords(again)
  expect(readFileSync(join(keys, 'artifact-key.pem'))).toEqual(before)
})

describe('explain', () => {
  let server: Upstream
  beforeAll(async () => {
    server = await startUpstream((exchange) => exchange.reply(200, '<html>hello</html>'))
  })
  afterAll(() => server.close())
  const ask = (url: string) => run(good, ['explain', 'hi', '--key', 'k', '--url', url])

  it.each([
    ['not a url', /^error: option '--url <url>' argument 'not a url' is invalid. Expected an address/],
    ['ftp://127.0.0.1', /begins with http/],
    ['http://no-such-host.invalid', /^No gateway answers at http:\/\/no-such-host\.invalid: the host name/],
  ])('%s', async (url, message) => {
    const said = await ask(url)
    expectWords(said)
    expect(said.text).toMatch(message)
  })

  it('a server that is no gateway', async () => {
    const said = await ask(server.origin)
    expectWords(said)
    expect(said.text).toMatch(/is no persona-router/)
    server.play((exchange) => exchange.reply(404, 'nothing'), (exchange) => exchange.reply(401, { error: { message: 'No.' } })) // biome-ignore format: two answers
    expect((await ask(server.origin)).text).toMatch(/answers 404: nothing/)
    expect((await ask(server.origin)).text).toMatch(/answers 401: No\./)
    server.play((exchange) => exchange.raw('nonsense\r\n\r\n'))
    expectWords(await ask(server.origin))
    server.play((exchange) => exchange.reset())
    expect((await ask(server.origin)).text).toMatch(/the connection was closed/)
    server.play((exchange) => exchange.reply(200, '<html>hello</html>'))
  })

  it('a server without TLS where https was said', async () => {
    const plain = createHttpServer().listen(0, '127.0.0.1')
    await once(plain, 'listening')
    const said = await ask(`https://127.0.0.1:${(plain.address() as AddressInfo).port}`)
    expectWords(said)
    expect(said.text).toContain('TLS was tried, and it speaks none')
    plain.close()
  })
})

describe('as a process', () => {
  const cli = (...args: string[]) =>
    spawnSync(process.execPath, ['bin/persona-router.mjs', ...args], { encoding: 'utf8' })

  it('a port in use: one line, exit code 1', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const config = file('taken.yaml', `server: { port: ${port} }\nstore: { kind: sqlite, path: ${join(dir, 'taken.db')} }\nspool: { path: ${join(dir, 'spool')} }\n`) // biome-ignore format: three lines
    const { status, stderr } = cli('serve', '--config', config)
    expect([status, stderr]).toEqual([1, `127.0.0.1:${port}: the port is in use (EADDRINUSE)\n`])
    taken.close()
  })

  it('a file that is no log: the line, exit code 1', () => {
    const log = file('no-log.jsonl', '{"type":"interaction"}\n')
    const { status, stderr } = cli('--config', good, 'import', log)
    expect(status).toBe(1)
    expect(stderr).toMatch(/^\S+no-log\.jsonl, line 1 is not a record: [^\n]+\n$/)
  })

  it('--version', () => {
    expect(cli('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
