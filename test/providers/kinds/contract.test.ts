import { configSchema } from '../../../src/config/schema.ts'
import { openProviders } from '../../../src/providers/kinds.ts'
import type { Provider } from '../../../src/providers/provider.ts'
import { providerContract, type Reply, type Subject } from '../../contracts/provider.ts'
import { replyFixture } from '../../support/fixtures.ts'
import { candidate } from '../../support/relay-harness.ts'
import { type Script, startUpstream } from '../../support/upstream.ts'

const providerOf = (entry: Record<string, unknown>) =>
  openProviders(configSchema.parse({ providers: { p: entry } })).get('p') as Provider

const hang: Script = async (exchange) => {
  await exchange.closed
}

const remote =
  (
    folder: string,
    entry: (origin: string) => Record<string, unknown>,
    model: string,
    more: Parameters<typeof candidate>[2] = {},
  ) =>
  async (): Promise<Subject> => {
    const upstream = await startUpstream()
    const provider = providerOf(entry(upstream.origin))
    const replies: Record<Reply, (stream: boolean) => Script> = {
      plain: (stream) => replyFixture(`${folder}/plain.${stream ? 'sse' : 'json'}`),
      tools: (stream) => replyFixture(`${folder}/tools.${stream ? 'sse' : 'json'}`),
      error: () => replyFixture(`${folder}/error.json`, 400),
      hang: () => hang,
    }
    return {
      provider,
      candidate: candidate('c', 'p', { model, ...more }),
      play: (reply, stream) => upstream.play(replies[reply](stream)),
      sent: () => upstream.requests.map(({ body }) => JSON.parse(body.toString())),
      close: async () => {
        await provider.close()
        await upstream.close()
      },
    }
  }

providerContract(
  'openai-compatible',
  remote(
    'openai',
    (origin) => ({ kind: 'openai-compatible', base_url: `${origin}/v1`, api_key: 'sk-test' }),
    'gpt-4o-mini',
  ),
  { remote: true, city: 'Paris' },
)

providerContract(
  'openai-compatible, of a model of the Responses API alone',
  remote(
    'openai-responses',
    (origin) => ({ kind: 'openai-compatible', base_url: `${origin}/v1`, api_key: 'sk-test' }),
    'gpt-5.3-codex',
    { apis: new Set(['responses'] as const) },
  ),
  { remote: true, city: 'Paris' },
)

providerContract(
  'anthropic',
  remote(
    'anthropic',
    (origin) => ({ kind: 'anthropic', base_url: `${origin}/v1`, api_key: 'sk-ant-test' }),
    'claude-sonnet-4-5',
  ),
  { remote: true, city: 'Paris' },
)

providerContract(
  'sandbox',
  async () => ({
    provider: providerOf({ kind: 'sandbox', enabled: true }),
    candidate: candidate('sandbox-thorough', 'p', { model: 'sandbox-thorough' }),
    play: () => {},
    sent: () => [],
    close: async () => {},
  }),
  { remote: false, city: 'sandbox' },
)
