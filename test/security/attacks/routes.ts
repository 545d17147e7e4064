/** A request that a tenant of ten a minute, or somebody without a key, sends again and again. */
export interface Route {
  what: string
  path: string
  method?: string
  /** With "@" in it for `fill` characters. */
  body?: string
  fill?: number
  perSecond: number
  /** Of nobody's: "#" counts up. */
  key?: string
}

const WRONG = 'pr-wrong-key-#-0123456789'
const MANY = 300
const LARGE = { perSecond: 100, fill: 500_000 }
const large = { model: 'one', max_tokens: 9, messages: [{ role: 'user', content: '@' }] }

const post = (what: string, path: string, body: object | string, more: Partial<Route> = {}): Route => ({
  ...{ what, path, perSecond: MANY, body: typeof body === 'string' ? body : JSON.stringify(body) },
  ...more,
})
const get = (what: string, path: string, key?: string): Route => ({
  ...{ what, path, perSecond: MANY },
  ...(key !== undefined && { key }),
})

/** All but those that `run.ts` floods by themselves. @param response the id of a kept one */
export const routes = (response: string): Route[] => [
  get('a kept response of 200 KB', `/v1/responses/${response}`),
  get('its input', `/v1/responses/${response}/input_items`),
  post('going on from it', '/v1/responses', { model: 'one', input: 'y', previous_response_id: response }),
  post('Messages of 500 KB', '/v1/messages', large, LARGE),
  post('counting 500 KB', '/v1/messages/count_tokens', large, LARGE),
  post('completions of 500 KB', '/v1/completions', { model: 'one', prompt: '@' }, LARGE),
  post('2,000 embeddings', '/v1/embeddings', { model: 'embed', input: Array(2_000).fill('x') }),
  post('pass-through', '/v1/images/generations', { prompt: 'x' }),
  post('30,000 values', '/v1/chat/completions', { model: 'one', x: Array(30_000).fill(1), messages: [] }),
  get('usage', '/v1/usage'),
  { ...post('stating a profile', '/v1/users/u-#/profile', {}), method: 'PUT' },
  { ...get('erasing a profile', '/v1/users/u-#/profile'), method: 'DELETE' },
  post('links to rate', `/rate/${'A'.repeat(200)}`, 'rating=up'),
  get('wrong keys', '/v1/models', WRONG),
  post('wrong keys, 500 KB', '/v1/messages', large, { ...LARGE, key: WRONG }),
  get('wrong keys of the operator', '/admin/status', WRONG),
  get('/metrics', '/metrics', WRONG),
  get('/readyz', '/readyz', WRONG),
  get('/healthz', '/healthz', WRONG),
  get('unknown routes', '/v1/none-#'),
]
