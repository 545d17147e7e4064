import { createSecureContext } from 'node:tls'
import { causeOf } from '../runtime/error-cause.ts'
import { readTls, type TlsFiles } from '../runtime/tls.ts'
import type { Config } from './schema.ts'

export interface CheckedTls {
  /** To be watched: certificates are renewed. */
  files: string[]
  problems: string[]
}

/** Reads every PEM file that the configuration names, and tries whether they fit together. */
export function checkTlsFiles(config: Config): CheckedTls {
  const checked: CheckedTls = { files: [], problems: [] }
  const look = (path: string, tls: TlsFiles | undefined) => {
    if (!tls) return
    checked.files.push(...[tls.ca_file, tls.cert_file, tls.key_file].filter((file) => file !== undefined))
    const problem = problemOf(tls)
    if (problem !== null) checked.problems.push(`${path}: ${problem}`)
  }
  look('server.tls', config.server.tls)
  if (config.store.kind === 'redis') look('store.tls', config.store.tls)
  for (const [name, entry] of Object.entries(config.providers)) {
    if ('tls' in entry) look(`providers.${name}.tls`, entry.tls)
  }
  return checked
}

function problemOf(tls: TlsFiles): string | null {
  if ((tls.cert_file === undefined) !== (tls.key_file === undefined)) return 'cert_file and key_file belong together'
  try {
    const material = readTls(tls)
    if (material.ca && !material.ca.includes('-----BEGIN CERTIFICATE-----')) return 'ca_file holds no PEM certificate'
    createSecureContext(material)
    return null
  } catch (error) {
    const { path } = error as NodeJS.ErrnoException
    return path === undefined ? `not usable: ${(error as Error).message}` : `${path}: ${causeOf(error)}`
  }
}
