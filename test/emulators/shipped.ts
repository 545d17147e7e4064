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
]

/** config/models.yaml with the emulators' addresses. */
export function shipped(emulators: RunningEmulators): TestConfig {
  const { providers, candidates, dialects } = models()
  for (const [name, override] of Object.entries(emulators.providers)) Object.assign(providers[name], override)
  for (const [name, entry] of Object.entries<{ kind: string }>(providers)) {
    if (entry.kind !== 'sandbox' && !(name in emulators.providers)) delete providers[name]
  }
  return { providers, candidates: [...candidates, ...MORE], dialects }
}
