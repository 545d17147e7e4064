import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import type { AdminDeps } from '../api/admin.ts'
import { type AnswerDeps, answerBy } from '../api/chat-completions.ts'
import { completionsEndpoint } from '../api/completions.ts'
import { embed } from '../api/embeddings.ts'
import { explain } from '../api/explain.ts'
import { type FeedbackDeps, takeFeedback } from '../api/feedback.ts'
import { type ReadinessDeps, readiness } from '../api/health.ts'
import { countTokens, messagesEndpoint, tellRequestId } from '../api/messages.ts'
import { findModel, listModels } from '../api/models.ts'
import { isPassedThrough } from '../api/passthrough/target.ts'
import { deleteProfile, getProfile, setProfile } from '../api/profiles.ts'
import { responsesEndpoint } from '../api/responses/endpoint.ts'
import { keptResponses } from '../api/responses/routes.ts'
import { UnreadableThoughts } from '../api/responses/unreadable.ts'
import { usage } from '../api/usage.ts'
import { GatewayError } from '../errors.ts'
import { Scrapes } from '../observability/scrapes.ts'
import { errorBody } from '../openai/error.ts'
import { requireScope } from '../pipeline/authenticate.ts'
import { type BeginDeps, beginRequest, type RequestContext } from '../pipeline/context.ts'
import { chatEndpoint, type Endpoint } from '../pipeline/endpoint.ts'
import type { Entry } from '../pipeline/entry.ts'
import type { HeldBytes } from '../pipeline/held-bytes.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Store } from '../store/store.ts'
import { answerOnNode, throwIfRefused } from './direct.ts'
import { type ErrorDeps, errorResponse, report } from './errors.ts'
import type { Siblings } from './workers.ts'

interface Env {
  Bindings: HttpBindings
  Variables: { context: RequestContext }
}

/** What a route has of its request when it fails: below `/v1` also a context. */
interface Failing {
  req: { path: string }
  var: { context?: RequestContext }
}

/** The parts that routes use, all routes together. */
export type AppDeps = BeginDeps &
  AnswerDeps &
  ReadinessDeps &
  AdminDeps &
  FeedbackDeps &
  ErrorDeps & { store: Store; siblings: Siblings; seal: Seal; entry: Entry; heldBytes: HeldBytes }

/** Routes that answer, each in its format; errors below such a path have the same format. */
const endpointsOf = (deps: AppDeps) => ({
  '/v1/chat/completions': chatEndpoint,
  '/v1/messages': messagesEndpoint,
  '/v1/completions': completionsEndpoint,
  '/v1/responses': responsesEndpoint({
    responses: deps.store.responses,
    seal: deps.seal,
    unreadable: new UnreadableThoughts(),
    isErased: (tenant, user, ts) => deps.erasures.happened(tenant, user, ts),
    onStoreError: (call) => deps.metrics.storeErrors.inc({ call }),
  }),
})

/** All routes. Everything below `/v1` needs a tenant's key; the work of a route is in `api/`. */
export function createApp(deps: AppDeps): Hono<Env> {
  const app = new Hono<Env>()
  const endpoints = endpointsOf(deps)

  app.use('/v1/*', async (c, next) => {
    throwIfRefused(c.env.incoming)
    const context = await beginRequest(deps, c.env.incoming, c.env.outgoing)
    c.set('context', context)
    requireScope(context.caller, c.req.path)
    await deps.entry.enter(context, isPassedThrough(context))
    await next()
  })

  app.use('/v1/messages/*', async (c, next) => {
    tellRequestId(c.var.context)
    await next()
  })
  for (const [path, endpoint] of Object.entries<Endpoint>(endpoints)) {
    app.post(path, async (c) => {
      await answerOnNode(deps, c.var.context, endpoint.errorBody, () => answerBy(endpoint, deps, c.var.context))
      return RESPONSE_ALREADY_SENT
    })
  }
  app.post('/v1/embeddings', (c) => onNode(c, () => embed(deps, c.var.context)))
  app.post('/v1/messages/count_tokens', async (c) => json(c, await countTokens(deps, c.var.context)))
  app.route('/v1/responses', keptResponses(deps))
  app.get('/v1/models', (c) => json(c, listModels(c.var.context)))
  app.get('/v1/models/:id{.+}', (c) => json(c, findModel(c.var.context, c.req.param('id'))))
  app.get('/v1/usage', async (c) => json(c, await usage(deps, c.var.context, daysOf(c))))
  app.post('/v1/router/explain', async (c) => json(c, await explain(deps, c.var.context, endpoints['/v1/responses'])))
  app.post('/v1/feedback', async (c) => json(c, await takeFeedback(deps, c.var.context), 202))
  app.get('/v1/users/:id/profile', (c) => onNode(c, () => getProfile(deps, c.var.context, c.req.param('id'))))
  app.put('/v1/users/:id/profile', async (c) => json(c, await setProfile(deps, c.var.context, c.req.param('id'))))
  app.delete('/v1/users/:id/profile', async (c) => json(c, await deleteProfile(deps, c.var.context, c.req.param('id'))))

  const page = () => import('../api/feedback-page.ts')
  app.get('/rate/:token', async (c) => (await page()).askForFeedback(deps, c.req.param('token')))
  app.post('/rate/:token', async (c) => (await page()).takePageFeedback(deps, c.req.param('token'), c.env))

  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', async (c) => {
    const state = await readiness(deps)
    return c.json(state, state.status === 'not_ready' ? 503 : 200)
  })
  const scrapes = new Scrapes(async () => (await deps.siblings.metrics()) ?? (await deps.metrics.text()))
  app.get('/metrics', async (c) => {
    if (!deps.snapshot().config.metrics.enabled) return c.notFound()
    return c.body(await scrapes.text(), 200, { 'content-type': deps.metrics.registry.contentType })
  })
  onDemand('/admin', async () => (await import('../api/admin.ts')).admin(deps))
  onDemand('/console', async () =>
    (await import('../console/routes.ts')).consoleRoutes(deps, {
      responses: endpoints['/v1/responses'],
      answer: (context) => answerOnNode(deps, context, errorBody, () => answerBy(chatEndpoint, deps, context)),
    }),
  )

  app.all('/v1/*', (c, next) => (isPassedThrough(c.var.context) ? onNode(c, () => pass(c.var.context)) : next()))
  app.notFound((c) => failed(c, unknownRoute(c.req.method, c.req.path)))
  app.onError((error, c) => failed(c, error))
  return app

  async function pass(context: RequestContext): Promise<void> {
    await (await import('../api/passthrough/pass.ts')).passThrough(deps, context)
  }

  /** Routes that a gateway may never be asked for: loaded with the first request below their path. */
  function onDemand<E extends { Bindings: HttpBindings }>(path: string, load: () => Promise<Hono<E>>): void {
    let loading: Promise<Hono<Env>> | undefined
    const answer = async (c: Context<Env>) => {
      loading ??= load()
        .then((routes) => {
          const alone = new Hono<Env>().route(path, routes)
          alone.notFound((inner) => failed(inner, unknownRoute(inner.req.method, inner.req.path)))
          return alone.onError((error, inner) => failed(inner, error))
        })
        .catch((error) => {
          // The next request tries again.
          loading = undefined
          throw error
        })
      return (await loading).fetch(c.req.raw, c.env)
    }
    app.all(path, answer)
    app.all(`${path}/*`, answer)
  }

  async function onNode(c: Context<Env>, answer: () => Promise<void>): Promise<Response> {
    await answerOnNode(deps, c.var.context, errorBody, answer)
    return RESPONSE_ALREADY_SENT
  }

  function failed({ req, var: { context } }: Failing, error: unknown): Response {
    return errorResponse(report(deps, error, context?.requestId, errorShapeOf(req.path, endpoints)))
  }
}

const errorShapeOf = (path: string, endpoints: Readonly<Record<string, Endpoint>>) =>
  Object.entries(endpoints).find(([base]) => path === base || path.startsWith(`${base}/`))?.[1].errorBody

const daysOf = (c: Context) => ({ from: c.req.query('from'), to: c.req.query('to') })

const json = (c: Context<Env>, body: object, status: 200 | 202 = 200) =>
  c.json(body, status, { 'x-request-id': c.var.context.requestId })

const unknownRoute = (method: string, path: string) =>
  new GatewayError(`Invalid URL (${method} ${path.slice(0, 128).replace(/[^\x21-\x7e]/g, '?')})`, {
    status: 404,
    type: 'invalid_request_error',
    code: 'unknown_url',
  })
