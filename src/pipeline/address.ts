import type { IncomingMessage } from 'node:http'

/** First segments below `/v1` that clients whose base URL lacks it ask for. */
const ROOTS = new Set([
  'audio',
  'batches',
  'chat',
  'completions',
  'embeddings',
  'feedback',
  'files',
  'images',
  'messages',
  'models',
  'moderations',
  'realtime',
  'rerank',
  'responses',
  'router',
  'usage',
  'users',
])

/** A path as the routes have it, and the model that it names, as Azure OpenAI's paths do. */
export interface Address {
  path: string
  deployment: string | null
}

/**
 * Takes the addresses that clients make of a base URL for the one that the routes have: with and without `/v1`, twice
 * of it, slashes doubled or at the end, and Azure OpenAI's (`/openai/v1/…`, `/openai/deployments/{model}/…`).
 *
 * @param path without a query
 */
export function addressOf(path: string): Address {
  const segments = path.split('/').filter((segment) => segment !== '')
  let deployment: string | null = null
  const at = (index: number): string | undefined => segments[index]
  if (at(0) === 'openai') {
    if (at(1) === 'deployments' && segments.length > 3) {
      deployment = decoded(at(2) as string)
      segments.splice(0, 3, 'v1')
    } else segments.splice(0, 1, 'v1')
  }
  while (at(0) === 'v1' && at(1) === 'v1') segments.shift()
  if (ROOTS.has(at(0) ?? '')) segments.unshift('v1')
  return { path: `/${segments.join('/')}`, deployment }
}

const deployments = new WeakMap<IncomingMessage, string>()

/** The model that a request's path named, before `useAddress` took it out. */
export const deploymentOf = (request: IncomingMessage): string | undefined => deployments.get(request)

/** Gives a request the address that the routes have. */
export function useAddress(request: IncomingMessage): void {
  const { url = '' } = request
  if (url === '/v1/chat/completions' || !url.startsWith('/')) return
  const question = url.indexOf('?')
  const given = question < 0 ? url : url.slice(0, question)
  const { path, deployment } = addressOf(given)
  if (deployment !== null) deployments.set(request, deployment)
  if (path !== given) request.url = question < 0 ? path : path + url.slice(question)
}

/** A broken escape stays as it is: no model has such a name. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
