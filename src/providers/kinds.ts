import type { Config, ProviderConfig } from '../config/schema.ts'
import { anthropic } from './kinds/anthropic/anthropic.ts'
import { openaiCompatible } from './kinds/openai-compatible.ts'
import { sandbox } from './kinds/sandbox/sandbox.ts'
import type { Provider } from './provider.ts'

function open(name: string, config: ProviderConfig): Provider {
  switch (config.kind) {
    case 'openai-compatible':
      return openaiCompatible(name, config)
    case 'anthropic':
      return anthropic(name, config)
    case 'sandbox':
      return sandbox(name, config.enabled)
  }
}

/** The configured providers by name; those that can't be used say why in `unavailable`. */
export const openProviders = (config: Pick<Config, 'providers'>): Map<string, Provider> =>
  new Map(Object.entries(config.providers).map(([name, entry]) => [name, open(name, entry)]))
