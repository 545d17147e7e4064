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
      checked.problems.push(`${path}: ${file ?? 'not usable'}: ${causeOf(error)}`)
    }
  }
  look('server.tls', config.server.tls)
  if (config.store.kind === 'redis') look('store.tls', config.store.tls)
  for (const [name, entry] of Object.entries(config.providers)) {
    if ('tls' in entry) look(`providers.${name}.tls`, entry.tls)
  }
  return checked
}

const CERTIFICATE = /-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/
const PRIVATE_KEY = /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/

/** @throws Error where the files do not fit together */
function problemOf(tls: TlsFiles, material: TlsMaterial): string | null {
  if ((tls.cert_file === undefined) !== (tls.key_file === undefined)) return 'cert_file and key_file belong together'
  if (material.ca && !material.ca.includes('-----BEGIN CERTIFICATE-----')) return 'ca_file holds no PEM certificate'
  // What is empty would be taken, and no connection come about.
  if (material.cert !== undefined && !CERTIFICATE.test(`${material.cert}`)) return 'cert_file holds no PEM certificate'
  if (material.key !== undefined && !PRIVATE_KEY.test(`${material.key}`)) return 'key_file holds no PEM private key'
  createSecureContext(material)
  return null
}
