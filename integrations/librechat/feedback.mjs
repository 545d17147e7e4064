#!/usr/bin/env node
// LibreChat tells Langfuse what its users press, as scores. This stands in Langfuse's place and tells persona-router.
//
//   ROUTER_URL=http://127.0.0.1:8787/v1 PORT=8790 node feedback.mjs
//
// In LibreChat's environment: LANGFUSE_BASE_URL=http://127.0.0.1:8790, LANGFUSE_SECRET_KEY=<a key of persona-router>,
// LANGFUSE_PUBLIC_KEY=persona-router, and LANGFUSE_SAMPLE_RATE=1e-9, so that it makes no traces.
// In librechat.yaml, at the endpoint: headers: { X-Message-Id: "{{LIBRECHAT_BODY_MESSAGEID}}" }.
// In persona-router's configuration: identity: { message_headers: [x-message-id] }.
//
// It needs Node 20 and nothing else, keeps nothing, and holds no key: LibreChat sends it with each score.

import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

const {
  ROUTER_URL = 'http://127.0.0.1:8787/v1',
  HOST = '127.0.0.1',
  PORT = '8790',
  SEND_COMMENTS = 'false',
} = process.env
const SCORES = '/api/public/scores'
const MAX_BYTES = 64 * 1024
const TIMEOUT_MS = 10_000

/** What `POST /v1/feedback` takes; null where the score is none of a user's, or does not say for which message. */
function feedbackOf({ name, value, comment, metadata }) {
  const { messageId, userId } = metadata ?? {}
  if (name !== 'user-feedback' || ![0, 1].includes(value) || !messageId || !userId) return null
  return {
    message_id: messageId,
    user: userId,
    rating: value === 1 ? 'up' : 'down',
    ...(SEND_COMMENTS === 'true' && comment && { comment: String(comment).slice(0, 4_000) }),
  }
}

/** The status for LibreChat, which logs all but good ones and asks nobody again. */
async function take(request) {
  const [, credentials = ''] = /^Basic (\S+)$/i.exec(request.headers.authorization ?? '') ?? []
  const key = Buffer.from(credentials, 'base64').toString('utf8').split(':').slice(1).join(':')
  if (!key) return 401
  if (!(Number(request.headers['content-length']) <= MAX_BYTES)) return 413
  const feedback = feedbackOf((await json(request)) ?? {})
  if (!feedback) return 200
  const answer = await fetch(`${ROUTER_URL.replace(/\/$/, '')}/feedback`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(feedback),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  // 404: an answer that persona-router did not give, such as another endpoint's.
  return answer.ok || answer.status === 404 ? 200 : answer.status
}

const server = createServer(async (request, response) => {
  let status = 404
  try {
    if (request.method === 'POST' && request.url === SCORES) status = await take(request)
  } catch (error) {
    status = error instanceof SyntaxError ? 400 : 502
    if (status === 502) console.error(`persona-router was not reached: ${error.cause?.code ?? error.name}`)
  }
  request.resume()
  response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
})
server.listen(Number(PORT), HOST, () => console.log(`listening on ${HOST}:${server.address().port}`))
