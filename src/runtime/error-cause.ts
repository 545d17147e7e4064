/** What operators call the codes of Node, OpenSSL and undici. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name could not be looked up',
  ETIMEDOUT: 'no answer to the attempt to connect',
  UND_ERR_CONNECT_TIMEOUT: 'no answer to the attempt to connect',
  EHOSTUNREACH: 'there is no way to the host',
  ENETUNREACH: 'there is no way to the network',
  ECONNRESET: 'the connection was closed',
  EPIPE: 'the connection was closed',
  UND_ERR_SOCKET: 'the connection was closed',
  EADDRINUSE: 'the port is in use',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOENT: 'there is no such file or directory',
  ENOTDIR: 'a part of the path is no directory',
  EISDIR: 'it is a directory',
  EMFILE: 'too many open files',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'TLS: its certificate is self-signed and not trusted; name its CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'TLS: its CA is not trusted; name the CA',
  UNABLE_TO_GET_ISSUER_CERT: 'TLS: its CA is not trusted; name the CA',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'TLS: its CA is not trusted; name the CA',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'TLS: its CA is not trusted; name the CA',
  CERT_HAS_EXPIRED: 'TLS: its certificate has expired',
  CERT_NOT_YET_VALID: 'TLS: its certificate is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID: 'TLS: its certificate is for another host',
  ERR_SSL_WRONG_VERSION_NUMBER: 'TLS was tried, and it speaks none',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'TLS was tried, and it speaks none',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'TLS: it refused the handshake',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'TLS: it wants a client certificate',
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: 'the key is that of another certificate',
  ERR_OSSL_BAD_DECRYPT: 'the key is encrypted; give one without a passphrase',
  ERR_OSSL_PEM_BAD_END_LINE: 'a PEM file is cut off',
  ERR_OSSL_UNSUPPORTED: 'the key is cut off, or of a kind that is not known',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'TLS: it does not trust our certificate',
}

const MAX_CAUSES = 8

/** Code of an error, or of what caused it: the nearest that has words, else the nearest. */
export function codeOf(error: unknown): string | undefined {
  const codes = chainOf(error).flatMap(({ code }) => (typeof code === 'string' && code !== '' ? [code] : []))
  return codes.find((code) => code in WORDS) ?? codes[0]
}

/** Why something failed, in an operator's words: no stack, and no address but what the message has. */
export function causeOf(error: unknown): string {
  const code = codeOf(error)
  if (code !== undefined && WORDS[code]) return `${WORDS[code]} (${code})`
  const [outer, inner] = chainOf(error)
  // What `fetch` says of everything.
  const first = outer?.message === 'fetch failed' && inner ? inner : outer
  const message = first?.message.split('\n')[0] || first?.name || 'unknown error'
  return code === undefined || message.includes(code) ? message : `${message} (${code})`
}

type Coded = Error & { code?: unknown }

/** The error, its causes, and the errors that it stands for (one a tried address). */
function chainOf(error: unknown): Coded[] {
  const found: Coded[] = []
  const add = (one: unknown) => {
    if (!(one instanceof Error) || found.length >= MAX_CAUSES || found.includes(one)) return
    found.push(one)
    for (const part of one instanceof AggregateError ? one.errors : []) add(part)
    add(one.cause)
  }
  add(error)
  return found
}
