import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { type AdminDeps, adminRoutes } from '../api/admin.ts'
import { readSmallBody } from '../api/body.ts'
import { type ExplainDeps, explain } from '../api/explain.ts'
import { type FeedbackDeps, takeFeedback } from '../api/feedback.ts'
import { deleteProfile, setProfile } from '../api/profiles.ts'
import { GatewayError, invalidRequest, notFound, unauthorized } from '../errors.ts'
import type { ForgetDeps } from '../learning/erasures.ts'
import { ghostPairs } from '../learning/ghost-report.ts'
import { makeReport } from '../learning/report.ts'
import { gainsOfTenant } from '../learning/tenant-gains.ts'
import { componentsOf } from '../observability/components.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import type { RequestContext } from '../pipeline/context.ts'
import type { Endpoint } from '../pipeline/endpoint.ts'
import { assetOf } from './assets.ts'
import { FailedLogins } from './failed-logins.ts'
import { reportModels } from './model-report.ts'
import { readSession, roleOf, type Session, sessionToken } from './session.ts'
import { describeUser, findRequest } from './user-report.ts'
import { type Said, type Weighed, whyInWords } from './why.ts'

/** The parts that its pages look at, and those of the routes that it shares with clients and operators. */
export type ConsoleDeps = AdminDeps & ExplainDeps & FeedbackDeps & ForgetDeps & Parameters<typeof setProfile>[0]

/** What the playground borrows of the app: the whole road of a chat completion. */
export interface Borrowed {
  responses: Endpoint
  answer(context: RequestContext): Promise<void>
}

interface Env {
  Bindings: HttpBindings
  Variables: { session: Session }
}

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

const loginSchema = z.strictObject({ key: z.string().min(1).max(512) })

/**
 * The web console: its files, its sessions, and what its pages ask for. 404 unless it is configured. All that changes
 * something, or costs money, is the operator's; a reader looks.
 */
export function consoleRoutes(deps: ConsoleDeps, borrowed: Borrowed): Hono<Env> {
  const app = new Hono<Env>()
  const failed = new FailedLogins()
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
    if (isChange && c.req.header(OWN_PAGE) === undefined) throw forbidden('Requests of other pages are refused.')
    if (c.req.path.endsWith('/api/session') && c.req.method === 'POST') return next()
    const session = readSession(cookieOf(c.req.header('cookie')), keys(), Date.now())
    if (!session) throw unauthorized()
    c.set('session', session)
    const mayChange =
      session.role === 'operator' || c.req.path.endsWith('/api/explain') || c.req.path.endsWith('/api/session')
    if (isChange && !mayChange) throw forbidden('This key lets you look, not change.')
    return next()
  })

  const bodyOf = async (c: Context<Env>): Promise<Buffer> => {
    const { incoming, outgoing } = c.env
    const held = deps.heldBytes.openFor(outgoing, '')
    return readSmallBody({ incoming, outgoing, snapshot: deps.snapshot(), held })
  }

  app.post('/api/session', async (c) => {
    failed.refuseFlood()
    const parsed = loginSchema.safeParse(parseRawBody(await bodyOf(c)).json)
    const role = parsed.success ? roleOf(parsed.data.key, keys()) : null
    if (role === null) {
      failed.note()
      throw unauthorized()
    }
    const { session_minutes } = keys().console
    const cookie = `${COOKIE}=${sessionToken(role, keys(), Date.now())}; Path=/console; HttpOnly; SameSite=Strict; Max-Age=${session_minutes * 60}`
    c.header('set-cookie', isTls(c) ? `${cookie}; Secure` : cookie)
    return c.json({ role })
  })
  app.delete('/api/session', (c) => {
    c.header('set-cookie', `${COOKIE}=; Path=/console; HttpOnly; SameSite=Strict; Max-Age=0`)
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
    const report = await makeReport(deps.store, { tenant, since, until: Date.now() })
    const gains = await gainsOfTenant(deps.store, keys(), tenant, report.policies)
    const ghosts = await ghostPairs(deps.store, tenant)
    const components = await componentsOf(deps)
    const { off } = deps.snapshot()
    return c.json({ report, gains, ghosts, components, breakers: Object.fromEntries(deps.breakers.states()), off })
  })

  app.get('/api/models', async (c) => {
    const { tenant, since } = asked(c)
    const { tenants, off } = deps.snapshot()
    const report = await reportModels(deps.store, { tenant, since })
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
    return c.json(await describeUser(deps, tenantOf(tenant), c.req.param('id')))
  })
  app.get('/api/requests/:id', async (c) => {
    const { tenant } = asked(c)
    return c.json(await findRequest(deps.store, tenant, c.req.param('id')))
  })

  app.put('/api/users/:id', async (c) => c.json(await setProfile(deps, contextOf(c), c.req.param('id'))))
  app.delete('/api/users/:id', async (c) => c.json(await deleteProfile(deps, contextOf(c), c.req.param('id'))))

  app.post('/api/explain', async (c) => {
    const explanation = await explain(deps, contextOf(c), borrowed.responses)
    const said = await saidBy(c, asked(c).tenant)
    const { chosen, reason, candidates } = explanation as { chosen: string; reason: string; candidates: Weighed[] }
    return c.json({ ...explanation, why: whyInWords(chosen, reason, candidates, said) })
  })
  app.post('/api/chat', async (c) => {
    await borrowed.answer(contextOf(c))
    return RESPONSE_ALREADY_SENT
  })
  app.post('/api/feedback', async (c) => c.json(await takeFeedback(deps, contextOf(c)), 202))

  app.use('/api/admin/*', async (c, next) => {
    if (c.var.session.role !== 'operator' && !c.req.path.endsWith('/status') && !c.req.path.endsWith('/modes')) {
      throw forbidden('This key lets you look, not change.')
    }
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
    return deps.requests.begin(c.env.incoming, c.env.outgoing, caller, deps.snapshot())
  }

  async function saidBy(c: Context<Env>, tenant: string): Promise<Said[]> {
    const id = c.req.header('x-user-id')
    if (id === undefined) return []
    const { config } = tenantOf(tenant)
    const edges = await deps.store.loadEdges(tenant, deps.userIds.stored(config, id))
    return edges.map(({ candidate, reward }) => ({ candidate, reward }))
  }
}

const forbidden = (message: string) =>
  new GatewayError(message, { status: 403, type: 'permission_error', code: 'forbidden' })

const cookieOf = (header = '') => new RegExp(`(?:^|; *)${COOKIE}=([^;]+)`).exec(header)?.[1]

const isTls = (c: Context<Env>) => 'encrypted' in c.env.incoming.socket || c.req.header('x-forwarded-proto') === 'https'
