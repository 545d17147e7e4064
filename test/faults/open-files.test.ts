import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { discard, startGateway } from '../support/gateway.ts'
import { replyPlain, startUpstream } from '../support/upstream.ts'

it('few files may be open: who is connected is answered, however many others come, and it is told', async () => {
  const upstream = await startUpstream(replyPlain())
  const gateway = await startGateway(
    {
      providers: { p: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [{ name: 'm', provider: 'p', price: { input: 1, output: 1 } }],
    },
    { under: ['bash', '-c', 'ulimit -n 200; exec "$0" "$@"'] },
  )
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const ask = async () => {
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] })
    const headers = { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' }
    const sent = request(`${gateway.url}/v1/chat/completions`, { method: 'POST', agent, headers }).end(body)
    const [answer] = await once(sent, 'response')
    answer.resume()
    await once(answer, 'end')
    return answer.statusCode
  }
  const others: Socket[] = []
  try {
    expect(await ask()).toBe(200)
    expect(gateway.stdout()).toMatch(/"connections":100,[^\n]*raise the limit \(ulimit -n\)/)
    const port = Number(new URL(gateway.url).port)
    for (let i = 0; i < 250; i++) others.push(connect(port, '127.0.0.1').on('error', () => {}))
    await eventually(() => others.filter((socket) => socket.closed).length > 100, 'those beyond are turned away')
    // Not by the connection to the provider that was open before.
    upstream.play((exchange) => {
      replyPlain()(exchange)
      exchange.socket.end()
    })
    for (let i = 0; i < 3; i++) expect(await ask()).toBe(200)
  } finally {
    for (const socket of others) socket.destroy()
    agent.destroy()
    await discard(gateway)
    await upstream.close()
  }
})
