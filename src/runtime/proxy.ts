import { BlockList, isIP } from 'node:net'

type Env = Readonly<Record<string, string | undefined>>

/** What `proxy` of a provider may be: an address, `off`, or left out for the environment's. */
export type ProxySetting = string | undefined

/**
 * The proxy by which an address is reached; null for none. The environment's `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`
 * and `NO_PROXY` count as with curl and Go, in lower case first; loopback addresses never go through it.
 */
export function proxyFor(url: string, setting: ProxySetting, env: Env = process.env): string | null {
  if (setting === 'off') return null
  if (setting !== undefined) return setting
  const { protocol, hostname, port } = new URL(url)
  const host = plainHost(hostname)
  if (isLoopback(host)) return null
  const read = (name: string) => env[name.toLowerCase()] || env[name]
  const proxy = read(protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') || read('ALL_PROXY')
  if (!proxy) return null
  const effectivePort = port || (protocol === 'https:' ? '443' : '80')
  if (isExcepted(host, effectivePort, read('NO_PROXY') ?? '')) return null
  return proxy.includes('://') ? proxy : `http://${proxy}`
}

/** Whether the environment names any proxy. */
export const hasProxy = (env: Env = process.env): boolean =>
  ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY'].some((name) => env[name.toLowerCase()] || env[name])

/** Without brackets, without the dot at the end of a full name. */
const plainHost = (hostname: string) =>
  hostname
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/(.)\.$/, '$1')
    .toLowerCase()

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

const isLoopback = (host: string) =>
  host === 'localhost' || host.endsWith('.localhost') || (isIP(host) > 0 && LOOPBACK.check(host, familyOf(host)))

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** `NO_PROXY`: hosts, domains with their subdomains, addresses, networks (CIDR), each with or without a port; `*`. */
function isExcepted(host: string, port: string, exceptions: string): boolean {
  return exceptions
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => matches(entry.toLowerCase(), host, port))
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  if (entry.includes('/')) return isInNetwork(entry, host)
  const [, bracketed, bracketedPort] = /^\[(.+)\](?::(\d+))?$/.exec(entry) ?? []
  const [, named, namedPort] = isIP(entry) === 6 ? [null, entry, undefined] : (/^(.*?)(?::(\d+))?$/.exec(entry) ?? [])
  const wantedPort = bracketedPort ?? (bracketed === undefined ? namedPort : undefined)
  if (wantedPort !== undefined && wantedPort !== port) return false
  const wanted = plainHost(bracketed ?? named ?? '').replace(/^\*?\./, '')
  if (isIP(wanted) > 0 || isIP(host) > 0) return wanted === host
  return host === wanted || host.endsWith(`.${wanted}`)
}

function isInNetwork(network: string, host: string): boolean {
  const [base = '', bits = ''] = network.split('/')
  if (isIP(host) === 0 || isIP(base) !== isIP(host) || !/^\d+$/.test(bits)) return false
  const list = new BlockList()
  try {
    list.addSubnet(base, Number(bits), familyOf(base))
  } catch {
    return false
  }
  return list.check(host, familyOf(host))
}
