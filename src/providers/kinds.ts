import type { Config } from '../config/schema.ts'
import type { Kind, ProviderConfig } from './kind-schemas.ts'
import { anthropic } from './kinds/anthropic/anthropic.ts'
import { openaiCompatible } from './kinds/openai-compatible/openai-compatible.ts'
import { sandbox } from './kinds/sandbox/sandbox.ts'
import type { Provider } from './provider.ts'

/** One line a kind. */
const OPEN: { [K in Kind]: (name: string, entry: Extract<ProviderConfig, { kind: K }>) => Provider } = {
  'openai-compatible': openaiCompatible,
  anthropic,
  sandbox,
}

const open = <K extends Kind>(name: string, entry: Extract<ProviderConfig, { kind: K }>): Provider =>
  OPEN[entry.kind as K](name, entry)

/** The configured providers by name; those that can't be used say why in `unavailable`. */
export const openProviders = (config: Pick<Config, 'providers'>): Map<string, Provider> =>
  new Map(Object.entries(config.providers).map(([name, entry]) => [name, open(name, entry)]))
