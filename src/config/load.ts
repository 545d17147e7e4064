import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { embeddingProblems } from '../candidates/embedding-models.ts'
import { knownNames, mayBeDiscovered } from '../candidates/names.ts'
import { isDiscovering } from '../providers/kind-schemas.ts'
import { type Config, configSchema } from './schema.ts'

/** The configuration can't be used; `problems` has a line for each mistake: path, and what was expected. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]

  constructor(file: string, problems: string[]) {
    super(`${file}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.problems = problems
  }
}

export interface LoadedConfig {
  config: Config
  /** Files to watch: the configuration, its includes and the files of its secrets. */
  files: string[]
}

/**
 * Reads a YAML configuration, substitutes environment variables (`${VAR}`, `${VAR:-default}`), adds its includes and
 * validates the whole. A variable that is not set and has no default leaves its field out: a provider without its key
 * is off, not an error.
 *
 * @throws ConfigError
 */
export function loadConfig(path: string, env: NodeJS.ProcessEnv = process.env): LoadedConfig {
  const file = resolve(path)
  const files = [file]
  const root = substitute(readYaml(file), env)
  for (const include of asArray(root.include)) {
    const included = resolve(dirname(file), String(include))
    files.push(included)
    const more = substitute(readYaml(included), env)
    root.providers = { ...asObject(more.providers), ...asObject(root.providers) }
    root.dialects = { ...asObject(more.dialects), ...asObject(root.dialects) }
    root.candidates = [...asArray(root.candidates), ...asArray(more.candidates)]
  }
  files.push(...readSecrets(file, root))
  return { config: validate(file, root), files }
}

/** Secrets that may lie in a file of their own, by section and field: `admin.key` in that of `admin.key_file`. */
const SECRETS = [
  ['admin', 'key'],
  ['identity', 'secret'],
  ['privacy', 'secret'],
  ['store', 'password'],
] as const

/**
 * Reads the secrets that lie in files into their fields.
 *
 * @returns the files, to be watched: a mounted secret may be replaced
 */
function readSecrets(file: string, root: Record<string, unknown>): string[] {
  return SECRETS.flatMap(([section, field]) => {
    const entries = asObject(root[section])
    const named = entries[`${field}_file`]
    if (typeof named !== 'string') return []
    const path = `${section}.${field}`
    if (entries[field] !== undefined) throw new ConfigError(file, [`${path}: is given twice, by ${path}_file too`])
    const secretFile = resolve(dirname(file), named)
    const secret = readText(file, secretFile, `${path}_file: `).trim()
    if (secret === '') throw new ConfigError(file, [`${path}_file: is empty`])
    root[section] = { ...entries, [field]: secret }
    return [secretFile]
  })
}

function validate(file: string, root: Record<string, unknown>): Config {
  const parsed = configSchema.safeParse(root)
  if (!parsed.success) {
    throw new ConfigError(
      file,
      parsed.error.issues.map(({ path, message }) => `${path.map(String).join('.') || '(root)'}: ${message}`),
    )
  }
  const problems = crossCheck(parsed.data)
  if (problems.length > 0) throw new ConfigError(file, problems)
  return parsed.data
}

/** Checks across fields: names that must exist, or be unique. */
function crossCheck(config: Config): string[] {
  const problems: string[] = []
  const names = new Set<string>()
  config.candidates.forEach((candidate, index) => {
    const path = `candidates.${index}`
    if (names.has(candidate.name)) problems.push(`${path}.name: '${candidate.name}' is there twice`)
    names.add(candidate.name)
    if (candidate.name === 'auto' || candidate.name.startsWith('auto:')) {
      problems.push(`${path}.name: 'auto' is the gateway's own`)
    }
    if (!(candidate.provider in config.providers)) {
      problems.push(
        `${path}.provider: expected one of ${Object.keys(config.providers).join(', ') || '(none configured)'}, got '${candidate.provider}'`,
      )
    }
  })
  const discovers = Object.values(config.providers).some(isDiscovering)
  if (!discovers) problems.push(...unknownNames(config))
  problems.push(...aliasProblems(config), ...embeddingProblems(config), ...passthroughProblems(config))
  const tenants = new Set<string>()
  const keys = new Set<string>()
  config.tenants.forEach((tenant, index) => {
    const path = `tenants.${index}`
    if (tenants.has(tenant.name)) problems.push(`${path}.name: '${tenant.name}' is there twice`)
    tenants.add(tenant.name)
    if (tenant.training === 'vectors' && vectorSecret(config) === undefined) {
      problems.push(`${path}.training: 'vectors' needs privacy.secret`)
    }
    for (const key of tenant.keys) {
      if (keys.has(key)) problems.push(`${path}.keys: a key is given twice`)
      keys.add(key)
    }
  })
  return problems
}

/** Under which what is kept of prompts is sealed; undefined: none that lies outside the store. */
export const vectorSecret = ({ privacy, identity }: Pick<Config, 'privacy' | 'identity'>): string | undefined =>
  privacy.secret ?? identity.secret

/** Names in tenants' lists that the file does not define: an error, unless a server that lists its models has them. */
export function unknownNames({ candidates, embeddings, tenants }: Config): string[] {
  const known = new Set(['default', ...[...candidates, ...embeddings].flatMap(({ name, groups }) => [name, ...groups])])
  return tenants.flatMap((tenant, index) =>
    tenant.candidates
      .filter((wanted) => !known.has(wanted))
      .map((wanted) => `tenants.${index}.candidates: '${wanted}' is neither a candidate nor a group`),
  )
}

/** Aliases that lead nowhere, and aliases that would hide the gateway's own names. */
function aliasProblems(config: Config): string[] {
  const everything = [...config.candidates.map(({ name }) => name), ...config.tenants.flatMap((t) => t.candidates)]
  const lists = [
    { path: 'aliases', aliases: config.aliases, names: knownNames(config, ['default', ...everything]) },
    ...config.tenants.map((tenant, index) => ({
      path: `tenants.${index}.aliases`,
      aliases: tenant.aliases,
      names: knownNames(config, tenant.candidates),
    })),
  ]
  return lists.flatMap(({ path, aliases, names }) =>
    Object.entries(aliases).flatMap(([pattern, target]) => {
      if (pattern === 'auto' || pattern.startsWith('auto:')) return [`${path}.${pattern}: 'auto' is the gateway's own`]
      const group = /^auto:(.*)$/.exec(target)?.[1]
      const isKnown =
        target === 'auto' ||
        (group === undefined
          ? names.candidates.has(target) || mayBeDiscovered(config, target)
          : names.groups.has(group) || mayBeDiscovered(config, `${group}/`))
      return isKnown ? [] : [`${path}.${pattern}: '${target}' is neither 'auto', 'auto:<group>' nor a candidate`]
    }),
  )
}

/** Paths that the gateway answers itself are never passed on, nor is what takes a connection over. */
const OWN_PATHS = [
  'chat',
  'completions',
  'embeddings',
  'feedback',
  'messages',
  'models',
  'realtime',
  'responses',
  'router',
  'usage',
  'users',
]

function passthroughProblems({ passthrough, providers }: Config): string[] {
  return Object.entries(passthrough).flatMap(([prefix, provider]) => {
    const [, , first = ''] = prefix.split('/')
    return [
      ...(OWN_PATHS.includes(first) ? [`passthrough.${prefix}: '/v1/${first}' is the gateway's own`] : []),
      ...(providers[provider] ? [] : [`passthrough.${prefix}: there is no provider '${provider}'`]),
    ]
  })
}

function readYaml(file: string): Record<string, unknown> {
  const text = readText(file, file, '')
  // An editor that truncates before it writes leaves it so for a moment.
  if (text.trim() === '') throw new ConfigError(file, ['is empty'])
  const document = parseDocument(text, { prettyErrors: true, merge: true })
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => error.message.split('\n')[0] as string),
    )
  }
  try {
    // maxAliasCount bounds "billion laughs".
    return asObject(document.toJS({ maxAliasCount: 100 }))
  } catch (error) {
    throw new ConfigError(file, [(error as Error).message])
  }
}

/** @param where prefix of the problem's text */
function readText(config: string, file: string, where: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    throw new ConfigError(config, [`${where}can't be read: ${code}`])
  }
}

const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g

function substitute(value: Record<string, unknown>, env: NodeJS.ProcessEnv): Record<string, unknown> {
  return asObject(substituteIn(value, env))
}

function substituteIn(value: unknown, env: NodeJS.ProcessEnv): unknown {
  if (typeof value === 'string') return substituteText(value, env)
  if (Array.isArray(value)) {
    return value.map((item) => substituteIn(item, env)).filter((item) => item !== undefined)
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, substituteIn(item, env)] as const)
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined))
}

function substituteText(text: string, env: NodeJS.ProcessEnv): string | undefined {
  let missing = false
  const replaced = text.replace(VARIABLE, (_, variable: string, fallback: string | undefined) => {
    const found = env[variable] || fallback
    if (found === undefined) missing = true
    return found ?? ''
  })
  return missing ? undefined : replaced
}

const asObject = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
const asArray = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
