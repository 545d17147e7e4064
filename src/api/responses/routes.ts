import type { HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import type { UserIds } from '../../candidates/tenants.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import { principalOf } from '../../pipeline/principal.ts'
import type { Seal } from '../../runtime/seal.ts'
import type { Store } from '../../store/store.ts'
import { heldBy, type Shelf } from './kept.ts'
import { deleteResponse, findResponse, listInput, notServed, noWebSocket } from './kept-responses.ts'

interface Env {
  Bindings: HttpBindings
  Variables: { context: RequestContext }
}

export interface KeptDeps {
  store: Store
  seal: Seal
  userIds: UserIds
}

/** Everything below `/v1/responses` but the asking. */
export function keptResponses({ store, seal, userIds }: KeptDeps): Hono<Env> {
  const app = new Hono<Env>()
  const shelfOf = (c: Context<Env>): Shelf => {
    const { snapshot, caller, incoming } = c.var.context
    const { tenant, user } = principalOf(snapshot, userIds, caller, incoming)
    return { responses: store.responses, seal, tenant: tenant.name, user, onLoad: heldBy(c.var.context) }
  }
  const answer = (c: Context<Env>, body: object) => c.json(body, 200, { 'x-request-id': c.var.context.requestId })

  app.get('/', async (c, next) => {
    if (c.req.header('upgrade')?.toLowerCase() === 'websocket') throw noWebSocket()
    await next()
  })
  for (const [path, what] of [
    ['/compact', 'compaction: send the conversation as it is'],
    ['/input_tokens', 'counting tokens'],
  ] as const) {
    app.post(path, () => {
      throw notServed(what, 404)
    })
  }
  app.get('/:id', async (c) => answer(c, await findResponse(shelfOf(c), c.req.param('id'), queryOf(c))))
  app.delete('/:id', async (c) => answer(c, await deleteResponse(shelfOf(c), c.req.param('id'))))
  app.get('/:id/input_items', async (c) => answer(c, await listInput(shelfOf(c), c.req.param('id'), queryOf(c))))
  app.post('/:id/cancel', () => {
    throw notServed('background responses, which alone could be cancelled', 400)
  })
  return app
}

const queryOf = (c: Context<Env>) => new URL(c.req.url).searchParams
