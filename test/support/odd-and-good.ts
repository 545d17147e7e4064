import { ADMIN_KEY, discard, type RunningGateway, startGateway } from './gateway.ts'
import { completionBody, type Script, startUpstream, streamEvents, type Upstream } from './upstream.ts'

export interface OddAndGood {
  gateway: RunningGateway
  /** Is asked first, and plays what a test wants. */
  odd: Upstream
  /** Is asked next, and answers "good". */
  good: Upstream
  /** Nothing is remembered of what a provider refused. */
  forget: () => Promise<unknown>
  close: () => Promise<void>
}

export const frames = (events: readonly unknown[]) =>
  events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')

export const answering =
  (text: string): Script =>
  (exchange) => {
    if (exchange.json.stream !== true) {
      exchange.reply(200, completionBody(text))
      return
    }
    exchange.stream()
    exchange.chunk(`${frames(streamEvents([text]))}data: [DONE]\n\n`)
    exchange.end()
  }

/** A gateway over a provider that does odd things and one that is well: `auto` asks them in this order. */
export async function startOddAndGood(
  more: (odd: Upstream) => {
    providers?: Record<string, unknown>
    candidates?: readonly unknown[]
    embeddings?: readonly unknown[]
    timeouts?: Record<string, unknown>
    dialects?: Record<string, unknown>
  } = () => ({}),
): Promise<OddAndGood> {
  const odd = await startUpstream(() => {})
  const good = await startUpstream(answering('good'))
  const provider = ({ origin }: Upstream) => ({
    kind: 'openai-compatible',
    base_url: `${origin}/v1`,
    key_required: false,
  })
  const { providers, candidates = [], embeddings = [], timeouts = {}, dialects = {} } = more(odd)
  const gateway = await startGateway({
    providers: { odd: provider(odd), good: provider(good), ...providers },
    candidates: [
      ...['odd', 'good'].map((name) => ({
        name,
        provider: name,
        price: { input: 1, output: 2 },
        context_window: 1_000_000,
        capabilities: ['tools', 'vision', 'json_schema'],
      })),
      ...candidates,
    ],
    embeddings,
    timeouts,
    dialects,
    retries: { backoff_ms: 1, breaker: { failures: 10_000 } },
    router: { artifact: '/nowhere', fallback: 'first', deadline_ms: 10_000 },
  })
  return {
    gateway,
    odd,
    good,
    forget: () =>
      fetch(`${gateway.url}/admin/refusals`, { method: 'DELETE', headers: { authorization: `Bearer ${ADMIN_KEY}` } }),
    close: async () => {
      await discard(gateway)
      await Promise.all([odd, good].map((upstream) => upstream?.close()))
    },
  }
}
