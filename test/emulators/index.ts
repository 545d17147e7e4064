import { anthropic } from './anthropic.ts'
import { cerebras } from './cerebras.ts'
import { cohere } from './cohere.ts'
import { deepseek, gemini, groq, mistral, ollama, openrouter, together, vllm } from './compatible.ts'
import { type Received, type RunningEmulator, startEmulator } from './emulator.ts'
import { openai } from './openai.ts'
import { xai } from './xai.ts'

/** Of providers that a configuration adds: config/models.yaml has their dialects alone. */
export const ADDED = [cerebras, cohere, xai]

export const EMULATORS = [
  ...[openai, anthropic, gemini, openrouter, groq, deepseek, mistral, together],
  ...[...ADDED, vllm, ollama],
]

/** Those whose providers need a key, so that config/models.yaml has candidates of them. */
export const HOSTED = [openai, anthropic, gemini, openrouter, groq, deepseek, mistral, together]

export interface RunningEmulators {
  byName: ReadonlyMap<string, RunningEmulator>
  /** Overrides for `providers` in a configuration that includes config/models.yaml. */
  providers: Record<string, { base_url: string; api_key: string }>
  /** The last request that one of them answered. */
  lastAnswered(): Received | undefined
  close(): Promise<void>
}

export async function startEmulators(emulators = HOSTED, firstPort = 0): Promise<RunningEmulators> {
  const running = await Promise.all(emulators.map((emulator, i) => startEmulator(emulator, firstPort && firstPort + i)))
  return {
    byName: new Map(running.map((one) => [one.emulator.name, one])),
    providers: Object.fromEntries(
      running.map(({ emulator, baseUrl }) => [
        emulator.name,
        { base_url: baseUrl, api_key: `sk-${emulator.name}-0123456789` },
      ]),
    ),
    lastAnswered: () => running.flatMap(({ received }) => received.filter(({ refused }) => refused === null)).at(-1),
    close: async () => void (await Promise.all(running.map((one) => one.close()))),
  }
}
