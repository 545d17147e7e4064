import type { HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { admin } from '../api/admin.ts'
import { answerBy } from '../api/chat-completions.ts'
import { explanationOf } from '../api/explain.ts'
import { parseFeedback, takeFeedback } from '../api/feedback.ts'
import { readiness } from '../api/health.ts'
import { findModel, listModels } from '../api/models.ts'
import { exportProfile, parsePreferences, refuseUnknownNames } from '../api/profiles.ts'
import { ANONYMOUS } from '../candidates/tenants.ts'
import { GatewayError, invalidRequest } from '../errors.ts'
import type { Services } from '../parts.ts'
import { beginRequest } from '../pipeline/begin-exchange.ts'
import { readCall } from '../pipeline/call.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { decide } from '../pipeline/decide.ts'
import { chatEndpoint } from '../pipeline/endpoint.ts'
import { allowedCandidates, tenantOf } from '../pipeline/principal.ts'
import { readBody } from './body.ts'
import { renderError } from './error-handler.ts'

interface Env {
  Bindings: HttpBindings
  Variables: { context: RequestContext }
}

/** Stands in a path for the user of all requests that name none. */
const ANONYMOUS_PATH = '~anonymous'
const MAX_SMALL_BODY = 64 * 1024

/**
 * All routes. Everything below `/v1` needs a tenant's key; what a route does is in `http/`, and one completion in
 * `gateway.ts`.
 */
export function createApp(services: Services): Hono<Env> {
  const app = new Hono<Env>()

  app.use('/v1/*', async (c, next) => {
    c.set('context', await beginRequest(services, c.env.incoming, c.env.outgoing))
    await next()
  })

  app.post('/v1/chat/completions', (c) => answerBy(chatEndpoint, services, c.var.context))

  app.get('/v1/models', (c) => json(c, { object: 'list', data: listModels(...modelsOf(c)) }))
  app.get('/v1/models/:id{.+}', (c) => json(c, findModel(...modelsOf(c), c.req.param('id'))))

  app.post('/v1/router/explain', async (c) => {
    const call = await readCall(c.var.context, services.userIds, chatEndpoint)
    return json(c, explanationOf(await decide(services, c.var.context, call)))
  })

  app.post('/v1/feedback', async (c) => {
    const feedback = parseFeedback(await smallBody(c))
    return json(c, await takeFeedback(services, c.var.context, feedback), 202)
  })

  app.get('/v1/users/:id/profile', async (c) => {
    const { tenant, user, id } = userInPath(services, c)
    return json(c, await exportProfile(services, tenant, user, id))
  })
  app.put('/v1/users/:id/profile', async (c) => {
    const { tenant, user, id } = userInPath(services, c)
    const { snapshot, caller } = c.var.context
    const preferences = parsePreferences(await smallBody(c))
    refuseUnknownNames(preferences, snapshot.config, tenantOf(snapshot, caller))
    await services.learner.setPreferences(services.policies.snapshot(tenant, user).policy, tenant, user, preferences)
    return json(c, { object: 'user.profile', id, preferences })
  })
  app.delete('/v1/users/:id/profile', async (c) => {
    const { tenant, user, id } = userInPath(services, c)
    const rows = await services.forgetUser(tenant, user)
    return json(c, { object: 'user.profile.deleted', id, deleted: true, rows })
  })

  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', async (c) => {
    const state = readiness(services.snapshot(), services.draining(), await services.components())
    return c.json(state, state.status === 'not_ready' ? 503 : 200)
  })
  app.get('/metrics', async (c) => {
    if (!services.snapshot().config.metrics.enabled) return c.notFound()
    const text = (await services.siblings.metrics()) ?? (await services.metrics.registry.metrics())
    return c.body(text, 200, { 'content-type': services.metrics.registry.contentType })
  })

  app.route('/admin', admin(services))

  app.notFound((c) => failed(services, c, unknownRoute(c.req.method, c.req.path)))
  app.onError((error, c) => failed(services, c, error))
  return app
}

function modelsOf(c: Context<Env>) {
  const { snapshot, caller } = c.var.context
  const tenant = tenantOf(snapshot, caller)
  return [allowedCandidates(tenant, caller), tenant.aliases] as const
}

function smallBody(c: Context<Env>): Promise<Buffer> {
  return readBody(c.env.incoming, MAX_SMALL_BODY, c.var.context.snapshot.config.server.body_timeout_ms)
}

function userInPath({ userIds }: Services, c: Context<Env>): { tenant: string; user: string; id: string } {
  const { snapshot, caller } = c.var.context
  const { config, name } = tenantOf(snapshot, caller)
  const id = c.req.param('id') ?? ''
  if (Buffer.byteLength(id) > 256) throw invalidRequest(`Invalid 'id': at most 256 bytes.`, 'id')
  return { tenant: name, user: id === ANONYMOUS_PATH ? ANONYMOUS : userIds.stored(config, id), id }
}

const json = (c: Context<Env>, body: object, status: 200 | 202 = 200) =>
  c.json(body, status, { 'x-request-id': c.var.context.requestId })

function failed(services: Services, c: Context<Env>, error: unknown): Response {
  const requestId = c.var.context?.requestId ?? `req_${crypto.randomUUID()}`
  const { status, headers, body } = renderError(error, requestId)
  services.metrics.rejected.inc({ status, code: (error instanceof GatewayError && error.code) || 'none' })
  if (!(error instanceof GatewayError)) services.log.error({ err: error, request: requestId }, 'internal error')
  return new Response(body, { status, headers })
}

const unknownRoute = (method: string, path: string) =>
  new GatewayError(`Invalid URL (${method} ${path.slice(0, 128).replace(/[^\x21-\x7e]/g, '?')})`, {
    status: 404,
    type: 'invalid_request_error',
    code: 'unknown_url',
  })
