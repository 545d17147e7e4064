import { existsSync } from 'node:fs'
import { choiceOf } from '../candidates/tenants.ts'
import { unknownNames } from '../config/cross-check.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { closeSnapshot, makeSnapshot, type Snapshot } from '../config/snapshot.ts'
import { isDiscovering, kindOf } from '../providers/kind-schemas.ts'
import { tryProvider } from '../providers/try-provider.ts'
import { timeProblem } from '../runtime/certificates.ts'
import { causeOf } from '../runtime/error-cause.ts'
import { openStore } from '../store/index.ts'
import { ageLine } from './catalogue-update.ts'
import { secretNotes } from './secret-notes.ts'
import { patient } from './with-store.ts'

/**
 * What a valid configuration comes to: what is in use, what is off and why, and what is likely not meant.
 *
 * @param probe asks the providers and the store
 * @returns the report, and whether all that was asked answered well
 * @throws PriceFileError
 */
export async function configReport(
  { config, files, certificates }: LoadedConfig,
  { probe }: { probe: boolean },
): Promise<{ text: string; isGood: boolean }> {
  const snapshot = await makeSnapshot(config, { asks: probe })
  try {
    const { candidates, providers, tenants, prices } = snapshot
    const keyed = probe ? await tenantsWithKeys(config) : new Set<string>()
    const asked = probe ? await askAll(snapshot) : []
    const lines = [
      `${[...new Set(files)].join(', ')}: good. ${count(candidates.length, 'usable candidate')}, ${count(providers.size, 'provider')}, ${count(tenants.size, 'tenant')}.`,
      ageLine(prices),
      ...section('Usable', candidates.length > 0 ? [candidates.map(({ name }) => name).join(', ')] : []),
      ...section('Off', offLines(snapshot)),
      ...section('To look at', [
        ...certificates.map((one) => timeProblem(one)).filter((problem) => problem !== null),
        ...secretNotes(config),
        ...notes(snapshot, probe),
        ...(keyed instanceof Error ? [] : keyless(config, keyed, probe)),
      ]),
      ...section('Asked', [
        ...asked.flatMap(({ lines }) => lines),
        ...(keyed instanceof Error ? [`store: ${causeOf(keyed)}`] : []),
      ]),
      '',
    ]
    return { text: lines.join('\n'), isGood: !(keyed instanceof Error) && asked.every(({ isGood }) => isGood) }
  } finally {
    await closeSnapshot(snapshot)
  }
}

const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`

const section = (title: string, lines: readonly string[]) =>
  lines.length > 0 ? [`${title}:`, ...lines.map((line) => `  ${line}`)] : []

/** Providers first, each with its candidates; then candidates that are off by themselves. */
function offLines({ config, providers, off }: Snapshot): string[] {
  const lines: string[] = []
  const unavailable = new Set<string>()
  for (const [name, provider] of providers) {
    if (provider.unavailable === null) continue
    unavailable.add(provider.unavailable)
    const own = config.candidates.filter((candidate) => candidate.provider === name).length
    lines.push(`${name}: ${provider.unavailable}${own > 0 ? ` (${count(own, 'candidate')})` : ''}`)
  }
  return [...lines, ...off.filter(({ why }) => !unavailable.has(why)).map(({ name, why }) => `${name}: ${why}`)]
}

/** What is valid, and likely not meant. */
function notes({ config, candidates, tenants }: Snapshot, isAsked: boolean): string[] {
  const usable = new Set(candidates.map(({ name }) => name))
  const real = candidates.filter(({ provider }) => {
    const entry = config.providers[provider]
    return entry !== undefined && !kindOf(entry).isDemo
  })
  return [
    ...unknownNames(config).map(
      (unknown) => `${unknown} here: only a server that lists its models when the gateway starts can have it`,
    ),
    ...(isAsked
      ? []
      : Object.entries(config.providers)
          .filter(([, entry]) => isDiscovering(entry) && 'base_url' in entry && entry.base_url !== '')
          .map(([name]) => `${name}: its candidates are what it lists; --probe asks it`)),
    ...[...tenants.values()]
      .filter(({ candidates: own }) => own.length === 0)
      .map(({ name }) => `tenant ${name}: none of its candidates can be used: every request will fail`),
    ...[...tenants.values()].flatMap(({ name, aliases, candidates: own }) =>
      aliases
        .filter(({ target }) => choiceOf(target, own) === null)
        .map(({ pattern, target }) => `tenant ${name}: alias ${pattern} leads to '${target}', which can't be used now`),
    ),
    ...roles(config)
      .filter(([, name]) => !usable.has(name))
      .map(([path, name]) => `${path}: '${name}' can't be used now, so that there is none`),
    ...real
      .filter(({ price }) => price.input === 0 && price.output === 0)
      .map(({ name }) => `${name}: costs nothing here, so that limits in dollars do not count it`),
    ...real
      .filter(
        ({ ability, benchmarks, sizeB }) => !ability && sizeB === undefined && Object.keys(benchmarks).length === 0,
      )
      .map(({ name }) => `${name}: nothing is known of what it can do; give it known_as, benchmarks or size_b`),
  ]
}

function roles({ router, tenants }: Config): [path: string, candidate: string][] {
  const all: [string, string | undefined][] = [
    ['router.baseline', router.baseline],
    ['router.judge.candidate', router.judge?.candidate],
    ...tenants.map(({ name, baseline }): [string, string | undefined] => [`baseline of tenant ${name}`, baseline]),
  ]
  return all.filter((role): role is [string, string] => role[1] !== undefined)
}

function keyless({ tenants }: Config, keyed: ReadonlySet<string>, isAsked: boolean): string[] {
  const hint = isAsked ? 'nor in the store' : '(the store is not looked at without --probe)'
  return tenants
    .filter(({ name, keys }) => keys.length === 0 && !keyed.has(name))
    .map(
      ({ name }) =>
        `tenant ${name}: has no key in the configuration ${hint}: persona-router keys create --tenant ${name}`,
    )
}

async function tenantsWithKeys({ store: storeConfig }: Config): Promise<Set<string> | Error> {
  // Opening would make the file.
  if (storeConfig.kind === 'sqlite' && !existsSync(storeConfig.path)) return new Set()
  try {
    const store = await openStore(patient(storeConfig))
    try {
      const now = Date.now()
      const valid = (await store.listKeys()).filter(
        ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now),
      )
      return new Set(valid.map(({ tenant }) => tenant))
    } finally {
      await store.close()
    }
  } catch (error) {
    return error as Error
  }
}

/** Over TLS 1.3 whoever wants a certificate takes the connection, and then cuts it off (RFC 8446, 4.4.2.4). */
function mayWantCertificate(entry: Config['providers'][string]): boolean {
  return 'base_url' in entry && entry.base_url.startsWith('https:') && entry.tls?.cert_file === undefined
}

/** One line a provider that is on. */
async function askAll({ config, providers, candidates }: Snapshot): Promise<{ isGood: boolean; lines: string[] }[]> {
  const on = [...providers].filter(([name, { unavailable }]) => {
    const entry = config.providers[name]
    return unavailable === null && entry !== undefined && !kindOf(entry).isDemo
  })
  return Promise.all(
    on.map(async ([name, provider]) => {
      const own = candidates.filter((candidate) => candidate.provider === name)
      const { isGood, detail, unlisted, isCutOff } = await tryProvider(provider, own)
      const entry = config.providers[name]
      return {
        isGood,
        lines: [
          `${isGood ? 'ok  ' : 'FAIL'} ${name}: ${detail}`,
          ...(isCutOff && entry && mayWantCertificate(entry)
            ? ['     it may want a certificate of ours: tls.cert_file and tls.key_file']
            : []),
          ...unlisted.map((model) => `     ${name} does not list ${model}`),
        ],
      }
    }),
  )
}
