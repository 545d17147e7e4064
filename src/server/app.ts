import type { HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { admin } from '../api/admin.ts'
import { chatCompletions } from '../api/chat-completions.ts'
import { explanationOf } from '../api/explain.ts'
import { parseFeedback, takeFeedback } from '../api/feedback.ts'
import { readiness } from '../api/health.ts'
import { findModel, listModels } from '../api/models.ts'
import { exportProfile, parsePreferences, refuseUnknownNames } from '../api/profiles.ts'
import { ANONYMOUS } from '../candidates/tenants.ts'
import { GatewayError, invalidRequest } from '../errors.ts'
import type { Parts } from '../parts.ts'
import { beginExchange } from '../pipeline/begin-exchange.ts'
import { readRequest } from '../pipeline/call.ts'
import type { Exchange } from '../pipeline/context.ts'
import { decide } from '../pipeline/decide.ts'
import { allowedCandidates, tenantOf } from '../pipeline/principal.ts'
import { readBody } from './body.ts'
import { renderError } from './error-handler.ts'

interface Env {
  Bindings: HttpBindings
  Variables: { exchange: Exchange }
}

/** Stands in a path for the user of all requests that name none. */
const ANONYMOUS_PATH = '~anonymous'
const MAX_SMALL_BODY = 64 * 1024

/** All routes. Everything below `/v1` needs a tenant's key; what a route does is in `http/`, and one completion in `gateway.ts`. */
export function createApp(parts: Parts): Hono<Env> {
  const app = new Hono<Env>()

  app.use('/v1/*', async (c, next) => {
    c.set('exchange', await beginExchange(parts, c.env.incoming, c.env.outgoing))
    await next()
  })

  app.post('/v1/chat/completions', (c) => chatCompletions(parts, c.var.exchange))

  app.get('/v1/models', (c) => json(c, { object: 'list', data: listModels(allowedTo(c)) }))
  app.get('/v1/models/:id{.+}', (c) => json(c, findModel(allowedTo(c), c.req.param('id'))))

  app.post('/v1/router/explain', async (c) => {
    const asked = await readRequest(c.var.exchange, parts.userIds)
    return json(c, explanationOf(await decide(parts, c.var.exchange, asked)))
  })

  app.post('/v1/feedback', async (c) => {
    const feedback = parseFeedback(await smallBody(c))
    return json(c, await takeFeedback(parts, c.var.exchange, feedback), 202)
  })

  app.get('/v1/users/:id/profile', async (c) => {
    const { tenant, user, id } = userInPath(parts, c)
    return json(c, await exportProfile(parts, tenant, user, id))
  })
  app.put('/v1/users/:id/profile', async (c) => {
    const { tenant, user, id } = userInPath(parts, c)
    const { live, caller } = c.var.exchange
    const preferences = parsePreferences(await smallBody(c))
    refuseUnknownNames(preferences, live.config, tenantOf(live, caller))
    await parts.learner.setPreferences(parts.policies.snapshot(tenant, user).policy, tenant, user, preferences)
    return json(c, { object: 'user.profile', id, preferences })
  })
  app.delete('/v1/users/:id/profile', async (c) => {
    const { tenant, user, id } = userInPath(parts, c)
    const rows = await parts.forgetUser(tenant, user)
    return json(c, { object: 'user.profile.deleted', id, deleted: true, rows })
  })

  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', async (c) => {
    const state = readiness(parts.live(), parts.draining(), await parts.components())
    return c.json(state, state.status === 'not_ready' ? 503 : 200)
  })
  app.get('/metrics', async (c) => {
    if (!parts.live().config.metrics.enabled) return c.notFound()
    const text = (await parts.siblings.metrics()) ?? (await parts.metrics.registry.metrics())
    return c.body(text, 200, { 'content-type': parts.metrics.registry.contentType })
  })

  app.route('/admin', admin(parts))

  app.notFound((c) => failed(parts, c, unknownRoute(c.req.method, c.req.path)))
  app.onError((error, c) => failed(parts, c, error))
  return app
}

function allowedTo(c: Context<Env>) {
  const { live, caller } = c.var.exchange
  return allowedCandidates(tenantOf(live, caller), caller)
}

function smallBody(c: Context<Env>): Promise<Buffer> {
  return readBody(c.env.incoming, MAX_SMALL_BODY, c.var.exchange.live.config.server.body_timeout_ms)
}

function userInPath({ userIds }: Parts, c: Context<Env>): { tenant: string; user: string; id: string } {
  const { live, caller } = c.var.exchange
  const { config, name } = tenantOf(live, caller)
  const id = c.req.param('id') ?? ''
  if (Buffer.byteLength(id) > 256) throw invalidRequest(`Invalid 'id': at most 256 bytes.`, 'id')
  return { tenant: name, user: id === ANONYMOUS_PATH ? ANONYMOUS : userIds.stored(config, id), id }
}

const json = (c: Context<Env>, body: object, status: 200 | 202 = 200) =>
  c.json(body, status, { 'x-request-id': c.var.exchange.requestId })

function failed(parts: Parts, c: Context<Env>, error: unknown): Response {
  const requestId = c.var.exchange?.requestId ?? `req_${crypto.randomUUID()}`
  const { status, headers, body } = renderError(error, requestId)
  parts.metrics.rejected.inc({ status, code: (error instanceof GatewayError && error.code) || 'none' })
  if (!(error instanceof GatewayError)) parts.log.error({ err: error, request: requestId }, 'internal error')
  return new Response(body, { status, headers })
}

const unknownRoute = (method: string, path: string) =>
  new GatewayError(`Invalid URL (${method} ${path.slice(0, 128).replace(/[^\x21-\x7e]/g, '?')})`, {
    status: 404,
    type: 'invalid_request_error',
    code: 'unknown_url',
  })
