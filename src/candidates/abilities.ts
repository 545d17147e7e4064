import { readFileSync } from 'node:fs'
import { z } from 'zod'

const tableSchema = z.object({
  models: z.record(
    z.string(),
    z.object({
      names: z.array(z.string()).default([]),
      thinks: z.boolean().optional(),
      released: z.string().optional(),
      ability: z.number(),
      ability_sd: z.number().positive(),
      aspects: z.record(z.string(), z.number()).default({}),
      verbosity: z.record(z.string(), z.number()).default({}),
    }),
  ),
})

/** What is publicly known of a model, beyond its price. */
export interface KnownModel {
  /** Whether it thinks where a request says nothing of it; undefined = as its maker's others. */
  thinks?: boolean
  /** A month or day; undefined = nobody tells. */
  released?: string
  ability: { mean: number; sd: number; aspects: Readonly<Record<string, number>> }
  /** Measured tokens of a short reply by effort; `none` = without thinking. */
  verbosity: Readonly<Record<string, number>>
}

const TABLE = new URL('../../config/abilities.json', import.meta.url)
let table: ReadonlyMap<string, KnownModel> | undefined

/** How a host serves it, not what it is: number formats, version of the same weights. */
const HOSTED = /-(?:fp\d+|bf16|int\d|q\d[a-z0-9-]*|awq|gptq|gguf|versatile|maas|hf|tee|0\d\d|\d+k)$/
/** How fast: to a host the same weights, to a maker a smaller model. */
const FAST = /-(?:turbo|fast|instant)$/
const HOST =
  /^(?:accounts\/)?(?:baseten|cerebras|deepinfra|fireworks|friendli|groq|nebius|novita|parasail|sambanova|siliconflow|together)(?:[-_]?ai)?\//
/** Weights of so many parameters are open, and stay what they are. */
const SIZED = /-e?(?:\d+x)?\d+b(?:-|$)/

/** A model in `config/abilities.json` by any of its names, or by that without what hosts add to it. */
export function knownModel(model: string): KnownModel | undefined {
  table ??= readTable()
  let name = plainName(model)
  const isHosted = HOST.test(model.toLowerCase()) || SIZED.test(name)
  while (!table.has(name)) {
    const weights = name.replace(HOSTED, '')
    const shorter = plainName(isHosted && weights === name ? name.replace(FAST, '') : weights)
    if (shorter === name) return undefined
    name = shorter
  }
  return table.get(name)
}

function readTable(): ReadonlyMap<string, KnownModel> {
  const { models } = tableSchema.parse(JSON.parse(readFileSync(TABLE, 'utf8')))
  const found = new Map<string, KnownModel>()
  for (const [key, model] of Object.entries(models)) {
    const { names, thinks, released, ability, ability_sd: sd, aspects, verbosity } = model
    const known = {
      ...{ ability: { mean: ability, sd, aspects }, verbosity },
      ...(thinks !== undefined && { thinks }),
      ...(released !== undefined && { released }),
    }
    for (const name of [key, ...names]) found.set(plainName(name), known)
  }
  return found
}

/** Without provider, date and dots, as router-model's `plain_name`. */
export function plainName(model: string): string {
  const name = model
    .toLowerCase()
    .replace(/^(?:[a-z]+\.)*(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai)\./, '')
    .replace(/^.*\//, '')
    .replace(/:free$/, '')
    .replace(/[.:_ @]/g, '-')
    .replace(/(-20\d{2}-?\d{2}-?\d{2}|-latest|-preview|-instruct|-chat|-it|-v\d+-0|-v0-\d)+$/, '')
  return name.replace(/(?<=\d)p(?=\d)/g, '-').replace(/^(?:meta-)?llama-v?(?=\d)/, 'llama-')
}
