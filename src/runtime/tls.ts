import { readFileSync } from 'node:fs'

/** Files of TLS, as configured: PEM. */
export interface TlsFiles {
  ca_file?: string | undefined
  cert_file?: string | undefined
  key_file?: string | undefined
}

/** What the files hold. */
export interface TlsMaterial {
  ca?: Buffer
  cert?: Buffer
  key?: Buffer
}

/** @throws Error of the file system */
export const readTls = ({ ca_file, cert_file, key_file }: TlsFiles = {}): TlsMaterial => ({
  ...(ca_file !== undefined && { ca: readFileSync(ca_file) }),
  ...(cert_file !== undefined && { cert: readFileSync(cert_file) }),
  ...(key_file !== undefined && { key: readFileSync(key_file) }),
})
