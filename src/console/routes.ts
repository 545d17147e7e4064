import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { type AdminDeps, adminRoutes } from '../api/admin.ts'
import { readSmallBody } from '../api/body.ts'
import { type ExplainDeps, explain } from '../api/explain.ts'
import { type FeedbackDeps, takeFeedback } from '../api/feedback.ts'
import { deleteProfile, setProfile } from '../api/profiles.ts'
import { overridden } from '../candidates/overridden-store.ts'
import { GatewayError, invalidRequest, notFound, unauthorized } from '../errors.ts'
import type { ForgetDeps } from '../learning/erasures.ts'
import { ghostPairs } from '../learning/ghost-report.ts'
import { makeReport } from '../learning/report.ts'
import { gainsOfTenant } from '../learning/tenant-gains.ts'
import { componentsOf } from '../observability/components.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { type BeginDeps, beginAs, type RequestContext } from '../pipeline/context.ts'
import type { Endpoint } from '../pipeline/endpoint.ts'
import { withRests } from '../runtime/rest.ts'
import type { Store } from '../store/store.ts'
import { assetOf } from './assets.ts'
import { FailedLogins } from './failed-logins.ts'
import { describeLimits } from './limits-report.ts'
import { reportModels } from './model-report.ts'
import { retrainings } from './retrainings.ts'
import { readSession, roleOf, type Session, sessionToken } from './session.ts'
import { describeUser, findRequest, saidBy } from './user-report.ts'
import { whyInWords } from './why.ts'

/** The parts that its pages look at, and those of the routes that it shares with clients and operators. */
export type ConsoleDeps = AdminDeps &
  ExplainDeps &
  FeedbackDeps &
  ForgetDeps &
  Pick<BeginDeps, 'requests' | 'telemetry'> &
  Parameters<typeof setProfile>[0]

/** What the playground borrows of the app: the whole road of a chat completion. */
export interface Borrowed {
  responses: Endpoint
  answer(context: RequestContext): Promise<void>
}

interface Env {
  Bindings: HttpBindings
  Variables: { session: Session }
}

const MOUNT = '/console'
const COOKIE = 'persona_router_console'
/** Pages of other sites can't send it without asking first, and are never allowed to (WHATWG Fetch, CORS). */
const OWN_PAGE = 'x-console'
const DAY_MS = 86_400_000
const MAX_DAYS = 90

/** A page may load what this origin serves, and nothing else; no script or style in the page itself. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

const LOGIN = 'POST /api/session'
/** What a reader may do though it is no GET: nothing of it changes anything. */
const READERS_MAY: ReadonlySet<string> = new Set(['POST /api/explain', 'DELETE /api/session'])
/** What a reader sees of the operator's: no keys. */
const READERS_SEE: ReadonlySet<string> = new Set(
  ['status', 'modes', 'evidence', 'refusals', 'usage'].map((name) => `GET /api/admin/${name}`),
)

const loginSchema = z.strictObject({ key: z.string().min(1).max(512) })

/**
 * The web console: its files, its sessions, and what its pages ask for. 404 unless it is configured. All that changes
 * something, or costs money, is the operator's; a reader looks.
 */
export function consoleRoutes(deps: ConsoleDeps, borrowed: Borrowed): Hono<Env> {
  const app = new Hono<Env>()
  const failed = new FailedLogins()
  const reading = { ...deps, store: restfully(deps.store) }
  const keys = () => deps.snapshot().config

  app.use('*', async (c, next) => {
    const { console, admin } = keys()
    if (!console.enabled || admin.key === undefined) throw notFound('Not found.')
    await next()
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value)
  })

  const file = (c: Context<Env>, name: string) => {
    const asset = assetOf(name)
    if (!asset) throw notFound('Not found.')
    const headers = { 'content-type': asset.type, etag: asset.etag, 'cache-control': 'no-cache' }
    if (c.req.header('if-none-match') === asset.etag) return c.body(null, 304, headers)
    return c.body(new Uint8Array(asset.body), 200, headers)
  }
  app.get('/', (c) => file(c, 'index.html'))
  app.get('/assets/:name', (c) => file(c, c.req.param('name')))

  app.use('/api/*', async (c, next) => {
    c.header('cache-control', 'no-store')
    const isChange = c.req.method !== 'GET'
    const asked = `${c.req.method} ${c.req.path.slice(MOUNT.length)}`
    if (isChange && c.req.header(OWN_PAGE) === undefined) throw forbidden('Requests of other pages are refused.')
    if (asked === LOGIN) return next()
    const session = readSession(cookieOf(c.req.header('cookie')), keys(), Date.now())
    if (!session) throw unauthorized()
    c.set('session', session)
    if (session.role === 'operator' || READERS_MAY.has(asked)) return next()
    if (isChange) throw forbidden('This key lets you look, not change.')
    return next()
  })

  const bodyOf = async (c: Context<Env>): Promise<Buffer> => {
    const { incoming, outgoing } = c.env
    const held = deps.heldBytes.openFor(outgoing, '')
    return readSmallBody({ incoming, outgoing, snapshot: deps.snapshot(), held })
  }

  app.post('/api/session', async (c) => {
    const from = c.env.incoming.socket.remoteAddress ?? ''
    failed.refuseFlood(from)
    const body = await bodyOf(c)
    // Again: others may have failed while this body was held back.
    failed.refuseFlood(from)
    const parsed = loginSchema.safeParse(parseRawBody(body).json)
    const role = parsed.success ? roleOf(parsed.data.key, keys()) : null
    if (role === null) {
      failed.note(from)
      throw unauthorized()
    }
    const { session_minutes } = keys().console
    const token = sessionToken(role, keys(), Date.now())
    const cookie = `${COOKIE}=${token}; Path=${MOUNT}; HttpOnly; SameSite=Strict; Max-Age=${session_minutes * 60}`
    c.header('set-cookie', isTls(c) ? `${cookie}; Secure` : cookie)
    return c.json({ role })
  })
  app.delete('/api/session', (c) => {
    c.header('set-cookie', `${COOKIE}=; Path=${MOUNT}; HttpOnly; SameSite=Strict; Max-Age=0`)
    return c.json({ ended: true })
  })
  app.get('/api/session', (c) => c.json({ role: c.var.session.role, expires_at: new Date(c.var.session.expiresAt) }))

  app.get('/api/tenants', (c) => {
    const { tenants, config } = deps.snapshot()
    const data = [...tenants.values()].map(({ name, candidates, config: own }) => ({
      name,
      candidates: candidates.map((candidate) => candidate.name),
      baseline: own.baseline ?? config.router.baseline ?? null,
      holdout: own.holdout ?? config.router.holdout,
    }))
    return c.json({ data })
  })

  app.get('/api/overview', async (c) => {
    const { tenant, since } = asked(c)
    const report = await makeReport(reading.store, { tenant, since, until: Date.now() })
    const gains = await gainsOfTenant(deps.store, keys(), tenant, report.policies)
    const ghosts = await ghostPairs(deps.store, tenant)
    const components = await componentsOf(deps)
    const { off } = deps.snapshot()
    return c.json({ report, gains, ghosts, components, breakers: Object.fromEntries(deps.breakers.states()), off })
  })

  app.get('/api/models', async (c) => {
    const { tenant, since } = asked(c)
    const { tenants, off } = deps.snapshot()
    const report = await reportModels(reading.store, { tenant, since })
    const models = (tenants.get(tenant)?.candidates ?? []).map((candidate) => ({
      name: candidate.name,
      provider: candidate.provider,
      vendor: candidate.vendor,
      description: candidate.description,
      price: candidate.price,
      context_window: candidate.contextWindow,
      capabilities: [...candidate.capabilities],
      groups: candidate.groups,
      ability: candidate.ability?.mean ?? null,
      ability_sd: candidate.ability?.sd ?? null,
      thinking: candidate.thinking ?? null,
      effort: candidate.effort ?? null,
      benchmarks: candidate.benchmarks,
      report: report[candidate.name] ?? null,
    }))
    return c.json({ models, off })
  })

  app.get('/api/users/:id', async (c) => {
    const { tenant } = asked(c)
    return c.json(await describeUser(reading, tenantOf(tenant), c.req.param('id')))
  })
  app.get('/api/limits', async (c) => c.json(await describeLimits(deps, tenantOf(asked(c).tenant))))
  app.get('/api/requests/:id', async (c) => {
    const { tenant } = asked(c)
    return c.json(await findRequest(reading, tenant, c.req.param('id')))
  })
  app.get('/api/retrainings', async (c) => c.json({ data: await retrainings(keys(), asked(c).tenant) }))

  app.put('/api/users/:id', async (c) => c.json(await setProfile(deps, contextOf(c), c.req.param('id'))))
  app.delete('/api/users/:id', async (c) => c.json(await deleteProfile(deps, contextOf(c), c.req.param('id'))))

  app.post('/api/explain', async (c) => {
    const explanation = await explain(deps, contextOf(c), borrowed.responses, false)
    const id = c.req.header('x-user-id')
    const said = id === undefined ? [] : await saidBy(deps, tenantOf(asked(c).tenant), id)
    const { chosen, reason, candidates, stated, ...care } = explanation
    return c.json({ ...explanation, why: whyInWords(chosen, reason, candidates, said, care, stated) })
  })
  app.post('/api/chat', async (c) => {
    await borrowed.answer(contextOf(c))
    return RESPONSE_ALREADY_SENT
  })
  app.post('/api/feedback', async (c) => c.json(await takeFeedback(deps, contextOf(c)), 202))

  app.use('/api/admin/*', async (c, next) => {
    const asked = `${c.req.method} ${c.req.path.slice(MOUNT.length)}`
    if (c.var.session.role !== 'operator' && !READERS_SEE.has(asked)) throw forbidden('This key does not show that.')
    await next()
  })
  app.route('/api/admin', adminRoutes(deps))
  return app

  function tenantOf(name: string) {
    const tenant = deps.snapshot().tenants.get(name)
    if (!tenant) throw notFound(`There is no tenant '${name}'.`)
    return tenant
  }

  function asked(c: Context<Env>) {
    const { name } = tenantOf(c.req.query('tenant') ?? '')
    const days = Number(c.req.query('days') ?? 7)
    if (!(days > 0 && days <= MAX_DAYS))
      throw invalidRequest(`Invalid 'days': more than 0, at most ${MAX_DAYS}.`, 'days')
    return { tenant: name, since: Date.now() - days * DAY_MS }
  }

  /** The operator speaks as a user of a tenant: what they ask is counted and recorded as the tenant's. */
  function contextOf(c: Context<Env>): RequestContext {
    const caller = { tenant: asked(c).tenant, keyId: 'console', models: null, scopes: null }
    return beginAs(deps, c.env.incoming, c.env.outgoing, caller, deps.snapshot())
  }
}

/** Pages of the console read all of a tenant's log: they get half of the time. */
const REST_PER_WORK = 1

const restfully = (store: Store): Store =>
  overridden(store, {
    readInteractions: (filter) => withRests(store.readInteractions(filter), REST_PER_WORK),
    readRewards: (filter) => withRests(store.readRewards(filter), REST_PER_WORK),
  })

const forbidden = (message: string) =>
  new GatewayError(message, { status: 403, type: 'permission_error', code: 'forbidden' })

const cookieOf = (header = '') => new RegExp(`(?:^|; *)${COOKIE}=([^;]+)`).exec(header)?.[1]

const isTls = (c: Context<Env>) => 'encrypted' in c.env.incoming.socket || c.req.header('x-forwarded-proto') === 'https'
