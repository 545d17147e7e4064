import type { IncomingHttpHeaders } from 'node:http'
import type { PassthroughTarget } from '../../config/schema.ts'
import { GatewayError, invalidRequest } from '../../errors.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import type { PassMethod, Provider } from '../../providers/provider.ts'

const METHODS = new Set<string>(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Where a request goes that no route takes. */
export interface Target {
  prefix: string
  config: PassthroughTarget
  provider: Provider & Required<Pick<Provider, 'pass'>>
  method: PassMethod
  /** Behind the provider's base URL. */
  path: string
  query: string
}

/** What a server behind the provider might take for a way out of the prefix, or for another host. */
const WAY_OUT = /(^|\/)\.{1,2}(\/|$)|\\|%2e|%2f|%5c|%00|;|[^\x21-\x7e]/i

/** Whether a configured prefix covers a request that no route takes. */
export const isPassedThrough = (context: RequestContext): boolean => prefixOf(context) !== undefined

/**
 * The configuration alone says who is asked; the client says what behind the prefix.
 *
 * @throws GatewayError 400, 403, 503
 */
export function targetOf(context: RequestContext): Target {
  const { snapshot, incoming, caller } = context
  const prefix = prefixOf(context)
  const config = prefix === undefined ? undefined : snapshot.config.passthrough[prefix]
  const provider = config && snapshot.providers.get(config.provider)
  if (prefix === undefined || !config || !hasPass(provider) || provider.unavailable !== null) throw unavailable()
  // What is passed on may name any model of the provider's, or a file that does.
  if (caller.models !== null) throw modelsAlone()
  const { method = '', url = '' } = incoming
  if (!METHODS.has(method)) throw invalidRequest(`The method '${method.slice(0, 16)}' is not passed on.`)
  const path = pathOf(incoming.url).slice('/v1'.length)
  if (WAY_OUT.test(path)) throw invalidRequest('The path is not one that is passed on.')
  return { prefix, config, provider, method: method as PassMethod, path, query: queryOf(url) }
}

const hasPass = (provider: Provider | undefined): provider is Target['provider'] => provider?.pass !== undefined

/** The longest one wins. */
function prefixOf({ snapshot, incoming }: RequestContext): string | undefined {
  const path = pathOf(incoming.url)
  return Object.keys(snapshot.config.passthrough)
    .filter((each) => path.startsWith(each) || `${path}/` === each)
    .sort((a, b) => b.length - a.length)[0]
}

const pathOf = (url = '') => url.split('?', 1)[0] as string

/** Azure's versions are the provider's own business, in its configuration. */
function queryOf(url: string): string {
  const at = url.indexOf('?')
  if (at < 0) return ''
  const query = new URLSearchParams(url.slice(at + 1))
  query.delete('api-version')
  return query.size === 0 ? '' : query.toString()
}

/** Of the client's headers, those that say what the body is and what is wanted; all others are ours or its own. */
const SENT = ['accept', 'content-type', 'accept-language', 'openai-beta', 'range', 'if-none-match', 'if-range']
/** Of the provider's. */
const TOLD = /^(content-type|content-disposition|content-range|accept-ranges|etag|last-modified|retry-after|openai-)/

export function sentHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    SENT.flatMap((name) => {
      const value = headers[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}

export const toldHeaders = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => TOLD.test(name)))

const unavailable = () =>
  new GatewayError('The provider of this path is not available.', {
    status: 503,
    type: 'api_error',
    code: 'provider_unavailable',
  })

const modelsAlone = () =>
  new GatewayError('This key is for some models alone: it does not take what is passed on to a provider.', {
    status: 403,
    type: 'permission_error',
    code: 'insufficient_scope',
  })
