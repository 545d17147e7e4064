import { z } from 'zod'
import type { CandidateConfig } from '../../../candidates/schema.ts'
import { keyFields } from '../../fields.ts'

const schema = z.strictObject({
  kind: z.literal('sandbox'),
  ...keyFields,
  /** `auto`: only while no other provider can be used. */
  enabled: z.union([z.boolean(), z.literal('auto')]).default('auto'),
})

export type SandboxConfig = z.output<typeof schema>

type Card = Omit<CandidateConfig, 'name' | 'provider' | 'model'>

const common = {
  vendor: 'sandbox',
  context_window: 128_000,
  capabilities: ['tools', 'vision', 'json_schema'],
  groups: ['default', 'sandbox'],
  explore: true,
} satisfies Partial<Card>

/** Its models and their cards. Prices are make-believe, so that cost plays its part in routing. */
export const SANDBOX_CARDS = {
  'sandbox-terse': {
    ...common,
    description: 'Built-in test model: very cheap, very short answers.',
    price: { input: 0.05, output: 0.2 },
    size_b: 3,
    benchmarks: { mmlu: 0.6 },
  },
  'sandbox-thorough': {
    ...common,
    description: 'Built-in test model: mid price, long and structured answers.',
    price: { input: 0.5, output: 2 },
    size_b: 70,
    benchmarks: { mmlu: 0.8 },
  },
  'sandbox-premium': {
    ...common,
    description: 'Built-in test model: dear and strong, balanced answers, careful with numbers.',
    price: { input: 3, output: 15 },
    size_b: 400,
    reasoning: true,
    benchmarks: { mmlu: 0.9 },
  },
  'sandbox-coder': {
    ...common,
    description: 'Built-in test model: cheap, made for programming; answers with code.',
    price: { input: 0.3, output: 1.2 },
    size_b: 32,
    benchmarks: { mmlu: 0.7, humaneval: 0.9 },
  },
} satisfies Record<string, Card>

export const sandboxKind = {
  schema,
  isDemo: true,
  isStandIn: ({ enabled }: SandboxConfig) => enabled === 'auto',
  isLocal: () => true,
  builtIn: (provider: string): CandidateConfig[] =>
    Object.entries(SANDBOX_CARDS).map(([model, card]) => ({ ...card, name: model, provider, model })),
}
