import { z } from 'zod'
import { featuresSchema, fileName, maxCharsSchema } from './spec.ts'

/** `embedder.json` of an exported transformer, as `router_model/embedding/minilm.py` writes it. */
export const minilmSpecSchema = z.object({
  schema: z.literal('persona-router/embedder/1'),
  kind: z.literal('minilm'),
  version: z.string().min(1),
  dim: z.number().int().positive(),
  tokenizer: fileName,
  model: fileName,
  columns: z.number().int().positive(),
  max_tokens: z.number().int().min(3),
  begin_token: z.number().int().nonnegative(),
  end_token: z.number().int().nonnegative(),
  max_chars: maxCharsSchema,
  features: featuresSchema,
})

export type MinilmSpec = z.output<typeof minilmSpecSchema>

/** To the worker, and back; `ready` comes once, when the model is loaded. */
export interface EmbedJob {
  id: number
  text: string
}
export type WorkerAnswer =
  | { kind: 'ready' }
  | { kind: 'vector'; id: number; vector: Float32Array }
  | { kind: 'failed'; id: number; message: string }
