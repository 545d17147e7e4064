import { eventually } from '../support/eventually.ts'
import { discard, startGateway, TEST_KEY } from '../support/gateway.ts'
import { startUpstream } from '../support/upstream.ts'
import { caller } from './caller.ts'

export interface Lane {
  /** What a check gets: the gateway's address and key, and the user that this client should name. */
  env(client: string): Record<string, string>
  /** Waits until the gateway has recorded requests of that user, by each of these APIs; gives all that it recorded. */
  apisOf(client: string, wanted?: readonly string[]): Promise<string[]>
  close(): Promise<void>
}

const userOf = (client: string) => `user-of-${client}`

/**
 * The gateway that real clients are tried against. `auto` routes to the sandbox; `caller` calls the first tool that it
 * is given, once, and then says what came back; `text-embedding-*` embeds; names of OpenAI and Anthropic are aliases.
 */
export async function startLane(): Promise<Lane> {
  const upstream = await startUpstream(caller)
  const gateway = await startGateway({
    providers: {
      sandbox: { kind: 'sandbox', enabled: true },
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false },
    },
    // Too dear to be chosen, even once answers of a few tokens are expected; not tried either: it answers if named.
    candidates: [
      {
        name: 'caller',
        provider: 'up',
        price: { input: 500_000, output: 1_000_000 },
        groups: ['scripted'],
        explore: false,
      },
    ],
    embeddings: [{ name: 'embed', provider: 'up', price: { input: 1 }, aliases: ['text-embedding-*'] }],
    aliases: { 'gpt-*': 'auto', 'claude-*': 'auto' },
    tenants: [{ name: 'test', keys: [TEST_KEY], candidates: ['default', 'scripted'] }],
  })
  const recorded = async (client: string): Promise<string[]> => {
    const answer = await fetch(`${gateway.baseURL}/users/${userOf(client)}/profile`, {
      headers: { authorization: `Bearer ${gateway.key}` },
    })
    if (answer.status === 404) return []
    const { interactions } = (await answer.json()) as { interactions: { endpoint?: string }[] }
    return [...new Set(interactions.map(({ endpoint = 'chat' }) => endpoint))].sort()
  }
  return {
    env: (client) => ({ BASE_URL: gateway.baseURL, KEY: gateway.key, USER_ID: userOf(client) }),
    apisOf: (client, wanted = []) =>
      eventually(
        async () => {
          const apis = await recorded(client)
          return apis.length > 0 && wanted.every((api) => apis.includes(api)) && apis
        },
        `records of ${userOf(client)}: ${wanted}`,
      ),
    close: async () => {
      await discard(gateway)
      await upstream.close()
    },
  }
}
