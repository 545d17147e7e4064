import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import tls from 'node:tls'
import { PEM } from './certificates.ts'

/** As they lie in such directories: by name, or by a hash. */
const FILE = /\.(pem|crt|cer|\d+)$/

/**
 * Trusts the authorities of `SSL_CERT_FILE` (PEM) and `SSL_CERT_DIR` (directories of such files) besides the usual
 * ones, wherever this thread connects from now on, unless a connection has a CA of its own.
 * Node by itself reads neither.
 *
 * @returns what could not be taken, in words: it is left out
 */
export function trustAuthorities(env: NodeJS.ProcessEnv = process.env): string[] {
  const { getCACertificates, setDefaultCACertificates } = tls as Partial<typeof tls>
  if (!getCACertificates || !setDefaultCACertificates) {
    return [`SSL_CERT_FILE, SSL_CERT_DIR: Node ${process.version} can’t take them, 24.5 can; they are left out.`]
  }
  const found = new Set<string>()
  const problems: string[] = []
  const take = (path: string): number => {
    const all = readFileSync(path, 'utf8').match(PEM) ?? []
    const sound = all.filter(isCertificate)
    for (const one of sound) found.add(one)
    return sound.length
  }
  const explained = (name: string, path: string, work: (path: string) => number) => {
    try {
      if (work(path) === 0) problems.push(`${name}: no certificate in ${path}; it is left out.`)
    } catch (error) {
      problems.push(`${name}: ${path} can’t be read (${(error as NodeJS.ErrnoException).code}); it is left out.`)
    }
  }
  const { SSL_CERT_FILE: file, SSL_CERT_DIR: directories = '' } = env
  if (file) explained('SSL_CERT_FILE', file, take)
  for (const directory of directories.split(delimiter).filter(Boolean)) {
    explained('SSL_CERT_DIR', directory, (path) =>
      readdirSync(path)
        .filter((name) => FILE.test(name))
        .reduce((sum, name) => sum + quietly(() => take(join(path, name))), 0),
    )
  }
  if (found.size > 0) setDefaultCACertificates([...new Set([...getCACertificates('default'), ...found])])
  return problems
}

/** One that is broken would take all others with it. */
const isCertificate = (pem: string): boolean => quietly(() => new X509Certificate(pem).fingerprint256.length) > 0

/** Among them are links that lead nowhere. */
function quietly(work: () => number): number {
  try {
    return work()
  } catch {
    return 0
  }
}
