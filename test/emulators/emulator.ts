import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Body = Record<string, unknown> & { model: string; stream?: boolean }

export interface Refusal {
  status: number
  body: unknown
  headers?: Record<string, string>
}

/** Something that an API refuses, and where it says so, or who reported it. */
export interface Rule {
  source: string
  /** The refusal, where the request breaks the rule. */
  check(body: Body): Refusal | null | undefined | false | ''
}

/** One path of an API: what it refuses, and the shape of what it answers. */
export interface Route {
  /** Below the base URL's. */
  path: string
  rules: readonly Rule[]
  answer(body: Body): unknown
  /** Events of a streamed answer, with their names where the API has some; `[DONE]` comes after them where `done`. */
  events(body: Body): { event?: string; data: unknown }[]
  done: boolean
}

/** An API as far as it can be told from outside. */
export interface Emulator extends Route {
  /** Its provider's name in config/models.yaml. */
  name: string
  /** Path of its base URL. */
  base: string
  /** Models that it lists. */
  models?: readonly string[]
  more?: readonly Route[]
}

/** The rule that a request breaks, and the refusal; null where it is taken. */
export function refusalOf(route: Route, body: Body): { rule: Rule; refusal: Refusal } | null {
  for (const rule of route.rules) {
    const refusal = rule.check(body)
    if (refusal) return { rule, refusal }
  }
  return null
}

export interface Received {
  emulator: string
  path: string
  body: Body
  headers: IncomingMessage['headers']
  refused: string | null
}

export interface RunningEmulator {
  emulator: Emulator
  baseUrl: string
  received: Received[]
  close(): Promise<void>
}

const MAX_KEPT = 64

/** A server that refuses what the API refuses, and answers everything else at once. */
export async function startEmulator(emulator: Emulator, port = 0): Promise<RunningEmulator> {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const text = await readText(request)
    if (request.method === 'GET' && request.url?.startsWith(`${emulator.base}/models`)) {
      return send(response, 200, {
        object: 'list',
        data: (emulator.models ?? []).map((id) => ({ id, object: 'model' })),
      })
    }
    const route = [emulator, ...(emulator.more ?? [])].find(
      ({ path }) => request.url?.split('?')[0] === emulator.base + path,
    )
    if (!route)
      return send(response, 404, { error: { message: 'Not found.', type: 'not_found', code: null, param: null } })
    const body = JSON.parse(text) as Body
    const broken = refusalOf(route, body)
    const refused = broken?.rule.source ?? null
    received.push({ emulator: emulator.name, path: route.path, body, headers: request.headers, refused })
    if (received.length > MAX_KEPT) received.shift()
    if (broken) return send(response, broken.refusal.status, broken.refusal.body, broken.refusal.headers)
    if (!body.stream) return send(response, 200, route.answer(body))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const { event, data } of route.events(body)) {
      response.write(`${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`)
    }
    response.end(route.done ? 'data: [DONE]\n\n' : undefined)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    emulator,
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}${emulator.base}`,
    received,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function send(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
