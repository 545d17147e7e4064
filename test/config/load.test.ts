import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { configJsonSchema } from '../../src/config/schema.ts'

const dir = mkdtempSync(join(tmpdir(), 'config-'))
const write = (text: string, name = 'gateway.yaml') => {
  const file = join(dir, name)
  writeFileSync(file, text)
  return file
}
const problemsOf = (text: string, env = {}): string[] => {
  try {
    loadConfig(write(text), env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

it('a file that says nothing is the default configuration; an empty one is refused: an editor may be about to write it', () => {
  expect(() => loadConfig(write(''), {})).toThrow('is empty')
  const { config } = loadConfig(write('# all defaults'), {})
  expect(config.server.port).toBe(8787)
  expect(config.tenants.map(({ name }) => name)).toEqual(['default'])
})

it.each(['config/gateway.yaml', 'config/gateway.example.yaml', 'docker/gateway.yaml', 'docker/gateway.redis.yaml'])(
  'accepts %s',
  (file) => {
    expect(loadConfig(file, {}).config.candidates.length).toBeGreaterThan(10)
  },
)

it('names the path of every mistake, and what was expected', () => {
  const problems = problemsOf('server: { port: 99999 }\nrouter: { device: gpu }\nfoo: 1\n')
  expect(problems).toHaveLength(3)
  expect(problems.join('\n')).toMatch(/server\.port: .*65535/)
  expect(problems.join('\n')).toMatch(/router\.device: .*"cuda"/)
  expect(problems.join('\n')).toMatch(/foo/)
})

it('finds names that do not exist, or twice', () => {
  const problems = problemsOf(`
providers: { a: { kind: openai-compatible, base_url: "http://127.0.0.1:1/v1" } }
candidates:
  - { name: m, provider: a }
  - { name: m, provider: b }
  - { name: auto, provider: a }
tenants: [{ name: t, candidates: [nobody] }, { name: t }]
`)
  expect(problems).toEqual([
    "candidates.1.name: 'm' is there twice",
    "candidates.1.provider: expected one of a, got 'b'",
    "candidates.2.name: 'auto' is the gateway's own",
    "tenants.0.candidates: 'nobody' is neither a candidate nor a group",
    "tenants.1.name: 't' is there twice",
  ])
})

it('takes values from the environment, or their defaults, or leaves them out', () => {
  const text = `
server: { host: "\${HOST:-0.0.0.0}", port: "\${PORT}" }
providers: { p: { kind: openai-compatible, base_url: "https://\${REGION}.example/v1", api_key: "\${KEY}" } }
`
  const read = (env: Record<string, string>) => loadConfig(write(text), env).config
  expect(read({ REGION: 'eu', KEY: 'k', PORT: '9000' })).toMatchObject({
    server: { host: '0.0.0.0', port: 9000 },
    providers: { p: { base_url: 'https://eu.example/v1', api_key: 'k' } },
  })
  expect(read({ HOST: '::1' })).toMatchObject({ server: { host: '::1', port: 8787 } })
  expect(read({}).providers.p).not.toHaveProperty('api_key')
  expect(read({ KEY: '' }).providers.p).not.toHaveProperty('api_key')
})

it('takes secrets from files, which are watched, too', () => {
  const key = write('a-key-in-a-file-of-its-own\n', 'admin-key')
  const { config, files } = loadConfig(
    write(`admin: { key_file: admin-key }\nstore: { kind: redis, password_file: "\${PASSWORD_FILE:-admin-key}" }`),
    {},
  )
  expect(config.admin.key).toBe('a-key-in-a-file-of-its-own')
  expect(config.store).toMatchObject({ password: 'a-key-in-a-file-of-its-own' })
  expect(files).toEqual([join(dir, 'gateway.yaml'), key, key])
  write('', 'empty')
  expect([
    problemsOf('admin: { key_file: nowhere }'),
    problemsOf('admin: { key_file: empty }'),
    problemsOf('identity: { secret: a-secret-in-the-clear, secret_file: admin-key }'),
    problemsOf(`admin: { key_file: "\${UNSET}" }`),
  ]).toEqual([
    ["admin.key_file: can't be read: ENOENT"],
    ['admin.key_file: is empty'],
    ['identity.secret: is given twice, by identity.secret_file too'],
    [],
  ])
})

it('adds the providers and candidates of included files; its own win', () => {
  write(
    'providers: { a: { kind: sandbox, enabled: true }, b: { kind: sandbox } }\ncandidates: [{ name: x, provider: b }]',
    'more.yaml',
  )
  const { config, files } = loadConfig(
    write(
      'include: [more.yaml]\nproviders: { a: { kind: sandbox, enabled: false } }\ncandidates: [{ name: y, provider: a }]',
    ),
    {},
  )
  expect(config.providers.a).toMatchObject({ enabled: false })
  expect(config.candidates.map(({ name }) => name)).toEqual(['y', 'x'])
  expect(files).toEqual([join(dir, 'gateway.yaml'), join(dir, 'more.yaml')])
})

it('a file that is missing or no YAML is a ConfigError, without its contents', () => {
  expect(() => loadConfig(join(dir, 'none.yaml'), {})).toThrow(/none\.yaml:\n {2}can't be read: ENOENT/)
  expect(problemsOf('a: [1, 2').length).toBeGreaterThan(0)
})

it('whatever the file holds, the answer is a configuration or a ConfigError', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        loadConfig(write(text, 'fuzz.yaml'), {})
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError)
      }
    }),
    { numRuns: 200 },
  )
})

it('has a JSON schema that names no path of this machine', () => {
  const schema = JSON.stringify(configJsonSchema())
  expect(schema).toContain('"price"')
  expect(schema).not.toContain(process.cwd())
})

it('the committed schema is the schema', () => {
  expect(JSON.parse(readFileSync('config/gateway.schema.json', 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(configJsonSchema())),
  )
})

it('the example shows every field', () => {
  const example = readFileSync('config/gateway.example.yaml', 'utf8')
  const fields = new Set<string>()
  JSON.stringify(configJsonSchema(), (key, value) => {
    if (key === 'properties') for (const field of Object.keys(value)) fields.add(field)
    return value
  })
  expect(fields.size).toBeGreaterThan(80)
  expect([...fields].filter((field) => !new RegExp(`\\b${field}\\b`).test(example))).toEqual([])
})
