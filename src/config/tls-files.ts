import { createSecureContext } from 'node:tls'
import { type OwnCertificate, timesOf } from '../runtime/certificates.ts'
import { causeOf } from '../runtime/error-cause.ts'
import { readTls, type TlsFiles, type TlsMaterial } from '../runtime/tls.ts'
import type { Config } from './schema.ts'

export interface CheckedTls {
  /** To be watched: certificates are renewed. */
  files: string[]
  problems: string[]
  certificates: OwnCertificate[]
}

/** Reads every PEM file that the configuration names, and tries whether they fit together. */
export function checkTlsFiles(config: Config): CheckedTls {
  const checked: CheckedTls = { files: [], problems: [], certificates: [] }
  const look = (path: string, tls: TlsFiles | undefined) => {
    if (!tls) return
    checked.files.push(...[tls.ca_file, tls.cert_file, tls.key_file].filter((file) => file !== undefined))
    try {
      const material = readTls(tls)
      const problem = problemOf(tls, material)
      if (problem !== null) checked.problems.push(`${path}: ${problem}`)
      else if (material.cert) checked.certificates.push({ path, ...timesOf(material.cert) })
    } catch (error) {
      const { path: file } = error as NodeJS.ErrnoException
      const why = file === undefined ? `not usable: ${(error as Error).message}` : `${file}: ${causeOf(error)}`
      checked.problems.push(`${path}: ${why}`)
    }
  }
  look('server.tls', config.server.tls)
  if (config.store.kind === 'redis') look('store.tls', config.store.tls)
  for (const [name, entry] of Object.entries(config.providers)) {
    if ('tls' in entry) look(`providers.${name}.tls`, entry.tls)
  }
  return checked
}

/** @throws Error where the files do not fit together */
function problemOf(tls: TlsFiles, material: TlsMaterial): string | null {
  if ((tls.cert_file === undefined) !== (tls.key_file === undefined)) return 'cert_file and key_file belong together'
  if (material.ca && !material.ca.includes('-----BEGIN CERTIFICATE-----')) return 'ca_file holds no PEM certificate'
  createSecureContext(material)
  return null
}
