import { embeddingProblems } from '../candidates/embedding-models.ts'
import { knownNames, mayBeDiscovered } from '../candidates/names.ts'
import { isDiscovering, kindOf } from '../providers/kind-schemas.ts'
import { publicKeyOf } from '../runtime/public-key.ts'
import type { Secrets } from '../runtime/seal.ts'
import type { Config } from './schema.ts'

/** Checks across fields: names that must exist, or be unique. */
export function crossCheck(config: Config): string[] {
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
  problems.push(...formerlyProblems(config))
  const discovers = Object.values(config.providers).some(isDiscovering)
  if (!discovers) problems.push(...unknownNames(config))
  problems.push(...aliasProblems(config), ...embeddingProblems(config), ...passthroughProblems(config))
  problems.push(...roleProblems(config), ...storeProblems(config), ...keyProblems(config))
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

/** A name means one candidate, now and before. */
function formerlyProblems({ candidates }: Config): string[] {
  const taken = new Set(['auto', ...candidates.map(({ name }) => name)])
  return candidates.flatMap(({ formerly = [] }, index) =>
    formerly.flatMap((name, at) => {
      if (taken.has(name)) return [`candidates.${index}.formerly.${at}: '${name}' is the name of another`]
      taken.add(name)
      return []
    }),
  )
}

/** Under which what is kept of prompts is sealed; undefined: none that lies outside the store. */
const vectorSecret = ({ privacy, identity }: Pick<Config, 'privacy' | 'identity'>): string | undefined =>
  privacy.secret ?? identity.secret

/** Null: none is configured outside the store, so that no vector is kept. */
export function vaultSecrets(config: Config): Secrets | null {
  const secret = vectorSecret(config)
  return secret === undefined ? null : [secret, ...config.privacy.previous_secrets, ...config.identity.previous_secrets]
}

/** Names in tenants' lists that the file does not define: an error, unless a server that lists its models has them. */
export function unknownNames({ candidates, embeddings, tenants }: Config): string[] {
  const known = new Set([
    'default',
    ...[...candidates, ...embeddings].flatMap(({ name, groups }) => [name, ...groups]),
    ...candidates.flatMap(({ formerly = [] }) => formerly),
  ])
  return tenants.flatMap((tenant, index) =>
    tenant.candidates
      .filter((wanted) => !known.has(wanted))
      .map((wanted) => `tenants.${index}.candidates: '${wanted}' is neither a candidate nor a group`),
  )
}

/** Aliases that lead nowhere, and aliases that would hide the gateway's own names. */
function aliasProblems(config: Config): string[] {
  const everything = everyName(config)
  const lists = [
    { path: 'aliases', aliases: config.aliases, names: knownNames(config, everything) },
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

/** Baselines and the judge: a misspelt one would be as none, and what is measured by it would be gone unseen. */
function roleProblems(config: Config): string[] {
  const { candidates } = knownNames(config, everyName(config))
  const roles: [path: string, name: string | undefined][] = [
    ['router.baseline', config.router.baseline],
    ['router.judge.candidate', config.router.judge?.candidate],
    ['router.ghost.judge', config.router.ghost?.judge],
    ['router.ghost.rival', config.router.ghost?.rival === 'cheapest' ? undefined : config.router.ghost?.rival],
    ...config.tenants.map(({ baseline }, index): [string, string | undefined] => [
      `tenants.${index}.baseline`,
      baseline,
    ]),
  ]
  return roles.flatMap(([path, name]) =>
    name === undefined || candidates.has(name) || mayBeDiscovered(config, name)
      ? []
      : [`${path}: there is no candidate '${name}'`],
  )
}

/** A key that is none would refuse every artifact, one after the other. */
function keyProblems({ router }: Config): string[] {
  if (router.artifact_public_key === undefined) return []
  try {
    publicKeyOf(router.artifact_public_key)
    return []
  } catch {
    return ['router.artifact_public_key: expected a public key of Ed25519 in PEM (persona-router artifact keys)']
  }
}

/** Which server is meant; ioredis takes what is no address for the path of a socket. */
function storeProblems({ store }: Config): string[] {
  if (store.kind !== 'redis') return []
  const named = (['url', 'cluster', 'sentinel'] as const).filter((field) => store[field] !== undefined)
  const nodes = [...(store.cluster ?? []), ...(store.sentinel?.nodes ?? [])]
  const isUrl = store.url === undefined || (/^rediss?:\/\/[^/]/.test(store.url) && URL.canParse(store.url))
  const database = isUrl && store.url !== undefined ? new URL(store.url).pathname : '/'
  return [
    ...(named.length === 1
      ? []
      : [`store: expected one of url, cluster and sentinel, got ${named.join(', ') || 'none'}`]),
    ...(isUrl ? [] : ['store.url: expected redis://host:port/number, or rediss:// with TLS']),
    ...(/^(\/\d*)?$/.test(database) ? [] : ['store.url: after the slash expected the number of a database']),
    ...nodes
      .filter((node) => /[/@\s]/.test(node) || !URL.canParse(`redis://${node}`))
      .map((node) => `store: expected host:port or [address]:port, got '${node.replace(/^.*@/, '…@')}'`),
  ]
}

const everyName = ({ candidates, tenants }: Config) => [
  'default',
  ...candidates.map(({ name }) => name),
  ...tenants.flatMap((tenant) => tenant.candidates),
]

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
  return Object.entries(passthrough).flatMap(([prefix, { provider }]) => {
    const [, , first = ''] = prefix.split('/')
    const entry = providers[provider]
    return [
      ...(entry && !kindOf(entry).hasMore ? [`passthrough.${prefix}: '${provider}' answers chats alone`] : []),
      ...(OWN_PATHS.includes(first) ? [`passthrough.${prefix}: '/v1/${first}' is the gateway's own`] : []),
      ...(providers[provider] ? [] : [`passthrough.${prefix}: there is no provider '${provider}'`]),
    ]
  })
}
