import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import { type AdminDeps, admin } from '../api/admin.ts'
import { type ChatCompletionsDeps, chatCompletions } from '../api/chat-completions.ts'
import { explain } from '../api/explain.ts'
import { takeFeedback } from '../api/feedback.ts'
import { type ReadinessDeps, readiness } from '../api/health.ts'
import { findModel, listModels } from '../api/models.ts'
import { deleteProfile, getProfile, setProfile } from '../api/profiles.ts'
import { GatewayError } from '../errors.ts'
import { type BeginDeps, beginRequest, type RequestContext } from '../pipeline/context.ts'
import type { Store } from '../store/store.ts'
import { answerOnNode } from './direct.ts'
import { type ErrorDeps, errorResponse, errorShapeOf, report } from './errors.ts'
import type { Siblings } from './workers.ts'

interface Env {
  Bindings: HttpBindings
  Variables: { context: RequestContext }
}

export interface AppDeps extends BeginDeps, ChatCompletionsDeps, ReadinessDeps, AdminDeps, ErrorDeps {
  store: Store
  policies: ChatCompletionsDeps['policies']
  recorder: ChatCompletionsDeps['recorder']
  siblings: Siblings
}

/** All routes. Everything below `/v1` needs a tenant's key; the work of a route is in `api/`. */
export function createApp(deps: AppDeps): Hono<Env> {
  const app = new Hono<Env>()

  app.use('/v1/*', async (c, next) => {
    c.set('context', await beginRequest(deps, c.env.incoming, c.env.outgoing))
    await next()
  })

  app.post('/v1/chat/completions', (c) => onNode(c, chatCompletions))
  app.get('/v1/models', (c) => json(c, listModels(c.var.context)))
  app.get('/v1/models/:id{.+}', (c) => json(c, findModel(c.var.context, c.req.param('id'))))
  app.post('/v1/router/explain', async (c) => json(c, await explain(deps, c.var.context)))
  app.post('/v1/feedback', async (c) => json(c, await takeFeedback(deps, c.var.context), 202))
  app.get('/v1/users/:id/profile', async (c) => json(c, await getProfile(deps, c.var.context, c.req.param('id'))))
  app.put('/v1/users/:id/profile', async (c) => json(c, await setProfile(deps, c.var.context, c.req.param('id'))))
  app.delete('/v1/users/:id/profile', async (c) => json(c, await deleteProfile(deps, c.var.context, c.req.param('id'))))

  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', async (c) => {
    const state = await readiness(deps)
    return c.json(state, state.status === 'not_ready' ? 503 : 200)
  })
  app.get('/metrics', async (c) => {
    if (!deps.snapshot().config.metrics.enabled) return c.notFound()
    const { registry } = deps.metrics
    const text = (await deps.siblings.metrics()) ?? (await registry.metrics())
    return c.body(text, 200, { 'content-type': registry.contentType })
  })
  app.route('/admin', admin(deps))

  app.notFound((c) => failed(c, unknownRoute(c.req.method, c.req.path)))
  app.onError((error, c) => failed(c, error))
  return app

  async function onNode(c: Context<Env>, handler: (deps: AppDeps, context: RequestContext) => Promise<void>) {
    const { context } = c.var
    await answerOnNode(deps, context, () => handler(deps, context), errorShapeOf(c.req.path))
    return RESPONSE_ALREADY_SENT
  }

  function failed(c: Context<Env>, error: unknown): Response {
    return errorResponse(report(deps, error, c.var.context?.requestId, errorShapeOf(c.req.path)))
  }
}

const json = (c: Context<Env>, body: object, status: 200 | 202 = 200) =>
  c.json(body, status, { 'x-request-id': c.var.context.requestId })

const unknownRoute = (method: string, path: string) =>
  new GatewayError(`Invalid URL (${method} ${path.slice(0, 128).replace(/[^\x21-\x7e]/g, '?')})`, {
    status: 404,
    type: 'invalid_request_error',
    code: 'unknown_url',
  })
