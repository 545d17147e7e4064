import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificate {
  cert: string
  key: string
}

/** A CA of its own, by openssl: paths of PEM files. */
export class Authority {
  readonly dir = mkdtempSync(join(tmpdir(), 'authority-'))
  readonly ca: string
  readonly #key: string
  #count = 0

  constructor(name = 'Test CA') {
    this.ca = join(this.dir, 'ca.pem')
    this.#key = join(this.dir, 'ca-key.pem')
    openssl('req', '-x509', ...NEW_KEY, '-days', '2', '-subj', `/CN=${name}`, '-keyout', this.#key, '-out', this.ca)
  }

  /** @param names of hosts, as `subjectAltName` has them @param days 0: its time is over at once */
  issue(subject: string, names = 'DNS:localhost,IP:127.0.0.1,IP:::1', days = 2): Certificate {
    const base = join(this.dir, `${++this.#count}`)
    const [key, cert, request, extensions] = ['-key.pem', '.pem', '.csr', '.ext'].map((end) => base + end) as [string, string, string, string] // biome-ignore format: one line
    writeFileSync(extensions, `subjectAltName=${names}\n`)
    openssl('req', ...NEW_KEY, '-subj', `/CN=${subject}`, '-keyout', key, '-out', request)
    openssl('x509', '-req', '-in', request, '-CA', this.ca, '-CAkey', this.#key, '-CAcreateserial', '-days', `${days}`, '-extfile', extensions, '-out', cert) // biome-ignore format: one command
    return { cert, key }
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
