import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { configJsonSchema } from '../../src/config/schema.ts'
import fc from '../support/properties.ts'

const CATALOGUE = resolve('data/catalogue.json')

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

it('refuses former names of candidates that mean another, too', () => {
  const problems = problemsOf(`
providers: { a: { kind: openai-compatible, base_url: "http://127.0.0.1:1/v1" } }
candidates:
  - { name: m, provider: a, formerly: [n, old] }
  - { name: n, provider: a, formerly: [auto, old] }
tenants: [{ name: t, candidates: [m, old] }]
`)
  expect(problems).toEqual([
    "candidates.0.formerly.0: 'n' is the name of another",
    "candidates.1.formerly.0: 'auto' is the name of another",
    "candidates.1.formerly.1: 'old' is the name of another",
  ])
})

it('takes values from the environment, or their defaults, or leaves them out', () => {
  const text = `
server: { host: "\${HOST:-0.0.0.0}", port: "\${PORT:-}" }
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

it('numbers and truth values may come from the environment, also inside of unions and lists', () => {
  const text = `
router: { explore: "\${EXPLORE}", embedder: { kind: openai, base_url: "http://127.0.0.1:1", model: m, dim: "\${DIM}" } }
candidates: [{ name: m, provider: p, price: { input: "\${IN}", output: "\${OUT:-2e0}" } }]
providers: { p: { kind: openai-compatible, base_url: "http://127.0.0.1:1", key_required: "\${REQUIRED:-no}" } }
tenants: [{ name: t, limits: { usd_per_day: "\${BUDGET}", concurrent: "\${CONCURRENT:-}" } }]
`
  const { config } = loadConfig(write(text), { EXPLORE: 'false', DIM: '256', IN: '.25', BUDGET: '5' })
  expect(config).toMatchObject({
    router: { explore: false, embedder: { dim: 256 } },
    candidates: [{ price: { input: 0.25, output: 2 } }],
    providers: { p: { key_required: false } },
    tenants: [{ limits: { usd_per_day: 5 } }],
  })
  expect(config.tenants[0]?.limits).not.toHaveProperty('concurrent')
  const budget = `tenants: [{ name: t, limits: { usd_per_day: "\${BUDGET}" } }]`
  for (const BUDGET of ['five', '5 dollars', '0x10', 'NaN', 'Infinity', '-1', '0', '5,5'])
    expect(problemsOf(budget, { BUDGET }), BUDGET).toEqual([
      expect.stringMatching(/^tenants\.0\.limits\.usd_per_day: .* \(from the variable BUDGET\)$/),
    ])
})

it('a wrong value from the environment is told by the name of its variable alone, wherever it stands', () => {
  const text = `
router: { explore: "\${EXPLORE}", sticky: soon }
tenants:
  - { name: t, candidates: ["\${NONE:-}", a], limits: { concurrent: 1 } }
  - { name: u, limits: { usd_per_day: "\${UNITS}\${CENTS}", concurrent: "$\${CONCURRENT}" } }
`
  const env = { EXPLORE: 'sometimes', UNITS: 'secret', CENTS: '.5' }
  const problems = problemsOf(text, env)
  expect(problems).toEqual([
    expect.stringMatching(/^router\.explore: .* \(from the variable EXPLORE\)$/),
    expect.stringMatching(/^router\.sticky: [^(]*$/),
    expect.stringMatching(/^tenants\.1\.limits\.concurrent: [^(]*$/),
    expect.stringMatching(/^tenants\.1\.limits\.usd_per_day: .* \(from the variable UNITS, CENTS\)$/),
  ])
  expect(problems.join()).not.toMatch(/sometimes|secret/)
})

it('so is one in a list, and one in a file that is included', () => {
  const keys = `tenants: [{ name: t, keys: ["\${NONE:-}", long-enough-to-be-a-key, "\${KEY}"] }]`
  expect(problemsOf(keys, { KEY: 'short' })).toEqual([
    expect.stringMatching(/^tenants\.0\.keys\.1: .* \(from the variable KEY\)$/),
  ])
  const price = (name: string) => `{ name: m, provider: p, price: { input: "\${${name}}", output: 1 } }`
  const more = `
candidates: ["\${WHOLE}", ${price('MORE')}]
providers: { p: { kind: sandbox, enabled: "\${ENABLED}" }, q: "\${ALL}", r: "\${OVERRIDDEN}" }`
  write(more, 'more.yaml')
  const own = `include: [more.yaml]\nproviders: { r: 1, s: "\${OWN}" }\ncandidates: [${price('IN')}]`
  const env = { WHOLE: 'w', MORE: 'dear', ENABLED: 'perhaps', ALL: 'a', OVERRIDDEN: 'o', OWN: 's', IN: 'cheap' }
  const told = problemsOf(own, env).flatMap((problem) => {
    const [, path, name] = /^([^:]*):.*?(?: \(from the variable (\w+)\))?$/.exec(problem) ?? []
    return [[path, name]]
  })
  const expected = {
    'providers.p.enabled': 'ENABLED',
    'providers.q': 'ALL',
    'providers.r': undefined,
    'providers.s': 'OWN',
    'candidates.0.price.input': 'IN',
    'candidates.1': 'WHOLE',
    'candidates.2.price.input': 'MORE',
  }
  expect(Object.fromEntries(told)).toEqual(expected)
})

it.each([
  [`tenants: [{ name: t, limits: { usd_per_day: "\${X}" } }]`, 'tenants.0.limits.usd_per_day'],
  [
    `tenants: [{ name: t, user_limits: { requests_per_minute: "\${X}" } }]`,
    'tenants.0.user_limits.requests_per_minute',
  ],
  [`tenants: [{ name: t, key_limits: { tokens_per_minute: "1\${X}" } }]`, 'tenants.0.key_limits.tokens_per_minute'],
  [`tenants: [{ name: t, keys: ["\${X}"] }]`, 'tenants.0.keys.0'],
  [`tenants: [{ name: t, keys_file: "\${X}" }]`, 'tenants.0.keys_file'],
  [`tenants: [{ name: t, candidates: ["\${X}"] }]`, 'tenants.0.candidates.0'],
  [`tenants: [{ name: t, plain_user_ids: "\${X}" }]`, 'tenants.0.plain_user_ids'],
  [`identity: { secret: "\${X}" }`, 'identity.secret'],
  [`identity: { jwt: { secret: a-long-enough-secret, required: "\${X}" } }`, 'identity.jwt.required'],
  [`store: { kind: redis, url: "redis://127.0.0.1", password: "\${X}" }`, 'store.password'],
  [`store: { kind: redis, url: "\${X}" }`, 'store.url'],
  [`store: { kind: sqlite, path: "\${X}" }`, 'store.path'],
  [`router: { judge: { candidate: m, usd_per_day: "\${X}" } }`, 'router.judge.usd_per_day'],
  [
    `providers: { p: { kind: openai-compatible, base_url: "http://a", headers: { x-tenant: "\${X}" } } }`,
    'providers.p.headers.x-tenant',
  ],
  [`candidates: [{ name: m, provider: p, price: { input: 1, output: "\${X}" } }]`, 'candidates.0.price.output'],
  [`include: ["\${X}"]`, 'include.0'],
  [`server: { max_body_bytes: "\${X}" }`, 'server.max_body_bytes'],
])('%s: an unset variable is an error that names both', (text, path) => {
  expect(problemsOf(text)).toEqual([`${path}: the variable X is not set; set it, or give a default: \${X:-…}`])
})

it('what is off without its variable, and says so, may lack it; an address of its own is not taken instead', () => {
  const { config } = loadConfig(
    write(`providers: { a: { kind: anthropic, api_key: "\${A}", base_url: "\${B}" } }\nadmin: { key: "\${C}" }`),
    {},
  )
  expect(config.providers.a).toMatchObject({ base_url: '' })
  expect(config.admin).toEqual({})
})

it.each([`"\${A-B}"`, `"\${}"`, `"\${A"`, `"\${1A}"`])('%s is no variable: told, not sent as a key', (text) => {
  expect(problemsOf(`providers: { p: { kind: anthropic, api_key: ${text} } }`)).toEqual([
    expect.stringMatching(/^providers\.p\.api_key: .*begins a variable/),
  ])
})

it('a doubled dollar stands for itself', () => {
  const { config } = loadConfig(write(`admin: { key: "sixteen-chars-$\${A}$" }`), {})
  expect(config.admin.key).toBe(`sixteen-chars-\${A}$`)
})

it('a mistake in YAML: its place, once, and how to quote; never the line', () => {
  const [problem, ...others] = problemsOf(
    `tenants:\n  - name: t\n    limits: { usd_per_day: \${BUDGET}, requests_per_minute: 1 }\n`,
  )
  expect(problem).toMatch(/at line 3, column \d+; inside \{ \} and \[ \] variables need quotes/)
  expect(others).toEqual([])
  for (const text of ['a: "secret-text', 'a: *secret-text', 'a: !secret-text b', 'secret-text: 1\nsecret-text: 2']) {
    expect(problemsOf(text), text).toEqual([expect.stringMatching(/ at line \d, column \d+$/)])
    expect(problemsOf(text).join(), text).not.toContain('secret-text')
  }
})

it('reads YAML 1.2: what 1.1 took for truth, dates and octal numbers stays as it is written', () => {
  const { config } = loadConfig(
    write(
      `providers: { a: &a { kind: anthropic, api_key: yes }, b: { <<: *a, api_key: 2026-01-01 } }
tenants: [{ name: on, limits: { requests_per_minute: 010 } }]`,
    ),
    {},
  )
  expect(config.providers.a).toMatchObject({ api_key: 'yes' })
  expect(config.providers.b).toMatchObject({ kind: 'anthropic', api_key: '2026-01-01' })
  expect(config.tenants[0]).toMatchObject({ name: 'on', limits: { requests_per_minute: 10 } })
})

it('a few lines whose repeats are millions of values are refused; so are a second document and one without end', () => {
  const doubled = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    .map((name, i, names) => `${name}: &${name} [${Array(9).fill(i === 0 ? 'x' : `*${names[i - 1]}`)}]`)
    .join('\n')
  expect(problemsOf(doubled)).toEqual([expect.stringContaining('too many repeated values')])
  expect(problemsOf('a: &a { b: *a }')).toEqual([expect.stringContaining('too many repeated values')])
  expect(problemsOf('server: {}\n---\nserver: {}')).toEqual([expect.stringContaining('several documents')])
})

it.each([
  ['- a', 'expected a mapping: `section: …`'],
  ['just words', 'expected a mapping: `section: …`'],
])('%j is no configuration: not all defaults', (text, problem) => {
  expect(problemsOf(text)).toEqual([problem])
})

it('an include may hold providers, dialects and candidates: the rest of it would be overlooked', () => {
  write('tenants: [{ name: a }]', 'tenants.yaml')
  expect(problemsOf('include: [tenants.yaml]')).toEqual([expect.stringMatching(/may hold .* only, not tenants$/)])
  write('candidates: [{ name: m, provider: p }]', 'list.yaml')
  expect(problemsOf('include: [list.yaml]\ncandidates: { m: 1 }')).toEqual([
    expect.stringMatching(/^candidates: .*differ/),
  ])
})

it.each([
  ['router: { baseline: gpt }', 'router.baseline'],
  ['tenants: [{ name: t, baseline: gpt }]', 'tenants.0.baseline'],
  ['router: { judge: { candidate: gpt } }', 'router.judge.candidate'],
])('%s: a misspelt name is an error', (text, path) => {
  expect(problemsOf(text)).toEqual([`${path}: there is no candidate 'gpt'`])
})

it('takes secrets from files, which are watched, too', () => {
  const key = write('a-key-in-a-file-of-its-own\n', 'admin-key')
  const { config, files } = loadConfig(
    write(
      `admin: { key_file: admin-key }\nstore: { kind: redis, url: "redis://a", password_file: "\${PASSWORD_FILE:-admin-key}" }`,
    ),
    {},
  )
  expect(config.admin.key).toBe('a-key-in-a-file-of-its-own')
  expect(config.store).toMatchObject({ password: 'a-key-in-a-file-of-its-own' })
  const signing = `whsec_${'A'.repeat(32)}`
  write(`${signing}\n`, 'webhook-secret')
  const told = loadConfig(write('webhook: { url: "https://a", secret_file: webhook-secret }', 'webhook.yaml'), {})
  expect(told.config.webhook?.secret).toBe(signing)
  expect(files).toEqual([join(dir, 'gateway.yaml'), key, key, CATALOGUE])
  write('', 'empty')
  expect([
    problemsOf('admin: { key_file: nowhere }'),
    problemsOf('admin: { key_file: empty }'),
    problemsOf('identity: { secret: a-secret-in-the-clear, secret_file: admin-key }'),
    problemsOf(`admin: { key_file: "\${UNSET}" }`),
    problemsOf('router: { embedder: { kind: openai, base_url: "http://a", model: m, dim: 3, api_key_file: empty } }'),
  ]).toEqual([
    ["admin.key_file: can't be read: ENOENT"],
    ['admin.key_file: is empty'],
    ['identity.secret: is given twice, by identity.secret_file too'],
    [],
    ['router.embedder.api_key_file: is empty'],
  ])
})

it('vectors are kept under a secret outside the store alone', () => {
  const tenants = 'tenants: [{ name: t, training: vectors }]'
  const problem = ["tenants.0.training: 'vectors' needs privacy.secret"]
  expect(problemsOf(tenants)).toEqual(problem)
  for (const section of ['privacy', 'identity']) {
    expect(problemsOf(`${section}: { secret: a-secret-of-sixteen }\n${tenants}`)).toEqual([])
  }
})

it('every secret may lie in a file; tenants’ keys one a line, beside those of the file', () => {
  write('a-secret-of-sixteen\n', 'secret')
  write('# of the bots\nkey-number-one-of-bots\r\n\n key-number-two-of-bots\n', 'keys')
  const { config } = loadConfig(
    write(`
store: { kind: redis, sentinel: { name: m, nodes: ["a:1"], password_file: secret } }
identity: { secret_file: secret, jwt: { secret_file: secret } }
router: { embedder: { kind: openai, base_url: "http://a", model: m, dim: 3, api_key_file: secret } }
tenants: [{ name: t, keys: [the-key-in-the-file-itself], keys_file: keys }]
`),
    {},
  )
  expect(config).toMatchObject({
    store: { sentinel: { password: 'a-secret-of-sixteen' } },
    identity: { secret: 'a-secret-of-sixteen', jwt: { secret: 'a-secret-of-sixteen' } },
    router: { embedder: { api_key: 'a-secret-of-sixteen' } },
    tenants: [{ keys: ['the-key-in-the-file-itself', 'key-number-one-of-bots', 'key-number-two-of-bots'] }],
  })
})

it.each([
  ['{}', 'store: expected one of url, cluster and sentinel, got none'],
  ['{ url: "redis://a", cluster: ["a:1"] }', 'store: expected one of url, cluster and sentinel, got url, cluster'],
  ['{ url: "http://a:1" }', 'store.url: expected redis://host:port/number, or rediss:// with TLS'],
  ['{ url: "a:6379" }', 'store.url: expected redis://host:port/number, or rediss:// with TLS'],
  ['{ url: "redis://a:seven" }', 'store.url: expected redis://host:port/number, or rediss:// with TLS'],
  ['{ url: "redis://a/main" }', 'store.url: after the slash expected the number of a database'],
  ['{ cluster: ["redis://:word@a:1"] }', "store: expected host:port or [address]:port, got '…@a:1'"],
])('a Redis of %s: told before it is asked', (text, problem) => {
  expect(problemsOf(`store: { kind: redis, ${text.slice(1)}`)).toEqual([problem])
})

it.each(['redis://a', 'redis://:word@[::1]:6379/3', 'rediss://user:word@a.example:6380/'])(
  '%s is an address',
  (url) => {
    expect(problemsOf(`store: { kind: redis, url: "${url}" }`)).toEqual([])
  },
)

it('the address of a Redis, with its password, may lie in a file', () => {
  write('redis://:word@127.0.0.1:6379\n', 'url')
  expect(loadConfig(write('store: { kind: redis, url_file: url }'), {}).config.store).toMatchObject({
    url: 'redis://:word@127.0.0.1:6379',
  })
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
  expect(files).toEqual([join(dir, 'gateway.yaml'), join(dir, 'more.yaml'), CATALOGUE])
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
