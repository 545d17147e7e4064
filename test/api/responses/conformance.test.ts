import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { claude } from '../../support/anthropic-script.ts'
import { discard, type RunningGateway, startGateway } from '../../support/gateway.ts'
import { conformance } from '../../support/responses-cases.ts'
import { expectResponse, expectStream, readEvents } from '../../support/responses-spec.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'

test('the validators refuse what the specification does not allow', () => {
  expect(() => expectResponse({ output: [] })).toThrow(/toEqual|equal/)
  expect(() => expectStream(readEvents('event: response.created\ndata: {"type":"response.created"}\n\n'))).toThrow()
})

describe('the sandbox', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => discard(gateway))

  conformance({ gateway: () => gateway })
})

describe('a Claude behind the Messages API', () => {
  let gateway: RunningGateway
  let upstream: Upstream
  beforeAll(async () => {
    upstream = await startUpstream(claude)
    gateway = await startGateway({
      providers: {
        claude: { kind: 'anthropic', base_url: `${upstream.origin}/v1`, api_key: 'sk-ant-test-0123456789' },
      },
      candidates: [
        {
          name: 'claude',
          provider: 'claude',
          model: 'claude-sonnet-4-6',
          price: { input: 3, output: 15 },
          capabilities: ['tools', 'vision', 'json_schema'],
        },
      ],
      retries: { max_attempts: 1 },
    })
  })
  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
  })

  conformance({ gateway: () => gateway })
})
