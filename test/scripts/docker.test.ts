import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseCopy, readDockerfile } from '../../scripts/lib/dockerfile.mjs'
import { inVenv, root } from '../../scripts/lib/paths.mjs'
import { loadConfig } from '../../src/config/load.ts'

const run = (command: string, args: string[]) => {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  return { status, output: `${error?.message ?? ''}${stdout}${stderr}` }
}

describe.each(['Dockerfile', 'Dockerfile.cuda'])('docker/%s', (file) => {
  const path = join(root, 'docker', file)

  it('has nothing that hadolint minds', () => {
    expect(run(inVenv('hadolint'), [path])).toEqual({ status: 0, output: '' })
  })

  it('copies only what is there and what .dockerignore lets through', () => {
    const sent = readFileSync(join(root, '.dockerignore'), 'utf8').match(/(?<=^!).+/gm) ?? []
    const sources = readDockerfile(path)
      .filter(({ name }) => name === 'COPY')
      .map(({ rest }) => parseCopy(rest))
      .filter(({ from }) => from === undefined)
      .flatMap(({ sources }) => sources)
    expect(sources).toContain('src')
    expect(sources.filter((source) => !existsSync(join(root, source)))).toEqual([])
    expect(sources.filter((source) => !sent.some((name) => source === name || source.startsWith(`${name}/`)))).toEqual(
      [],
    )
  })

  it('does not run as root', () => {
    const users = readDockerfile(path).filter(({ name }) => name === 'USER')
    expect(users.map(({ rest }) => rest)).toEqual(['1000'])
  })
})

describe('docker/compose.yaml', () => {
  it('follows the Compose specification', () => {
    const args = ['--builtin-schema', 'vendor.compose-spec', 'docker/compose.yaml']
    expect(run(inVenv('check-jsonschema'), args)).toMatchObject({ status: 0 })
  })

  it('passes on every variable that the shipped configuration reads', () => {
    const compose = readFileSync(join(root, 'docker', 'compose.yaml'), 'utf8')
    const files = ['config/models.yaml', 'docker/gateway.redis.yaml'].map((name) =>
      readFileSync(join(root, name), 'utf8'),
    )
    const read = new Set(files.flatMap((text) => text.match(/(?<=\$\{)[A-Z][A-Z0-9_]*/g) ?? []))
    const own = ['HOST', 'PORT', 'DATA_DIR']
    expect([...read].filter((name) => !own.includes(name) && !compose.includes(`    ${name}: `))).toEqual([])
  })
})

it.each(['gateway.yaml', 'gateway.redis.yaml'])('docker/%s keeps what it writes under /data', (file) => {
  const { config } = loadConfig(join(root, 'docker', file), {})
  expect(config.server.host).toBe('0.0.0.0')
  expect(config.spool.path).toBe('/data/spool')
  if (config.store.kind === 'sqlite') expect(config.store.path).toBe('/data/persona-router.db')
  const set = loadConfig(join(root, 'docker', file), { PORT: '9000', HOST: '::', ADMIN_KEY: 'admin-key-0123456789' })
  expect(set.config.server).toMatchObject({ host: '::', port: 9000 })
  expect(set.config.admin.key).toBe('admin-key-0123456789')
})

it('each step of docker/Dockerfile works, and the gateway then runs as a user who may write to /data alone', {
  timeout: 90_000,
}, () => {
  const { status, output } = run(process.execPath, ['scripts/check-docker.mjs', '--quick'])
  expect(output).toContain('ended cleanly on SIGTERM')
  expect(status).toBe(0)
})
