import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { TestConfig } from '../support/gateway.ts'
import type { RunningEmulators } from './index.ts'

const models = () => parse(readFileSync(new URL('../../config/models.yaml', import.meta.url), 'utf8'), { merge: true })

export const shippedDialects = (): Record<string, unknown> => models().dialects

/** Models that nobody wants in general, for what they alone can do. */
const MORE = [
  {
    name: 'gpt-audio',
    provider: 'openai',
    price: { input: 2.5, output: 10 },
    context_window: 128_000,
    capabilities: ['tools', 'audio', 'logprobs'],
  },
  {
    name: 'gpt-4o-search-preview',
    provider: 'openai',
    price: { input: 2.5, output: 10 },
    context_window: 128_000,
    capabilities: ['json_schema'],
  },
  // They refuse chat completions.
  ...['gpt-5.3-codex', 'gpt-5.4-pro'].map((name) => ({
    name,
    provider: 'openai',
    price: { input: 1.75, output: 14 },
    context_window: 400_000,
    capabilities: ['tools', 'vision', 'json_schema'],
    reasoning: true,
  })),
]

/** Of providers that a configuration adds. */
const ADDED = [
  {
    name: 'cerebras/gpt-oss-120b',
    provider: 'cerebras',
    model: 'gpt-oss-120b',
    capabilities: ['tools', 'json_schema', 'logprobs'],
  },
  { name: 'cohere/command-a', provider: 'cohere', model: 'command-a-03-2025', capabilities: ['tools', 'json_schema'] },
  {
    name: 'xai/grok-4.3',
    provider: 'xai',
    model: 'grok-4.3',
    capabilities: ['tools', 'vision', 'json_schema', 'logprobs'],
  },
  {
    name: 'xai/grok-4-fast-non-reasoning',
    provider: 'xai',
    capabilities: ['tools', 'vision', 'json_schema', 'logprobs'],
  },
].map((entry) => ({ ...entry, price: { input: 0.3, output: 0.8 }, context_window: 131_072 }))

/** config/models.yaml with the emulators' addresses. */
export function shipped(emulators: RunningEmulators): TestConfig {
  const { providers, candidates, dialects } = models()
  for (const [name, override] of Object.entries(emulators.providers)) {
    providers[name] = { ...(providers[name] ?? { kind: 'openai-compatible' }), ...override }
  }
  for (const [name, entry] of Object.entries<{ kind: string }>(providers)) {
    if (entry.kind !== 'sandbox' && !(name in emulators.providers)) delete providers[name]
  }
  const added = ADDED.filter(({ provider }) => provider in emulators.providers)
  return { providers, candidates: [...candidates, ...MORE, ...added], dialects }
}
