import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { chunkOf, type Exchange, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const SCRIPTED_KEY = 'pr-scripted-key-0123456789abcdef'
const python = inVenv('python')
const hasPython = existsSync(python)
if (!hasPython)
  console.warn(`SKIPPED: the Python SDK. ${python} is not there: "npm test" makes it, or "npm run setup".`)

describe.skipIf(!hasPython)('the official Python SDK', () => {
  let upstream: Upstream
  let gateway: RunningGateway
  let aborted = false

  beforeAll(async () => {
    upstream = await startUpstream(byModel)
    gateway = await startGateway({
      providers: {
        sandbox: { kind: 'sandbox', enabled: true },
        up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false },
      },
      retries: { max_attempts: 1 },
      candidates: ['limited', 'breaking', 'endless'].map((name) => ({
        name,
        provider: 'up',
        price: { input: 1, output: 2 },
        groups: ['scripted'],
      })),
      tenants: [
        { name: 'test', keys: [TEST_KEY] },
        { name: 'scripted', keys: [SCRIPTED_KEY], candidates: ['scripted'] },
      ],
    })
  })
  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
  })

  async function byModel(exchange: Exchange): Promise<void> {
    if (exchange.json.model === 'limited') {
      replyPlain(429, { error: { message: 'slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } })(
        exchange,
      )
      return
    }
    exchange.stream()
    exchange.event(chunkOf({ role: 'assistant', content: '' }))
    exchange.event(chunkOf({ content: 'Hel' }))
    if (exchange.json.model === 'breaking') {
      setTimeout(() => exchange.reset(), 50)
      return
    }
    await exchange.closed
    aborted = true
  }

  test.each(['check.py', 'responses.py'])('does all that its users do: %s', async (name) => {
    aborted = false
    const script = fileURLToPath(new URL(`python/${name}`, import.meta.url))
    const { stdout } = await promisify(execFile)(python, [script, gateway.baseURL, TEST_KEY, SCRIPTED_KEY], {
      timeout: 60_000,
    })
    const declared = readFileSync(script, 'utf8').match(/(?<=^@check\ndef )\w+/gm)
    expect(stdout.trim().split('\n')).toEqual(declared)
    await eventually(() => aborted, 'the upstream sees the abort', 1_000)
  })
})
