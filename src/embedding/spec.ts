import { z } from 'zod'
import { FEATURE_NAMES } from './features.ts'

/** Parts of `embedder.json` that all kinds share; written by `router_model/embedding/spec.py`. */
export const fileName = z.string().regex(/^[\w.-]+$/)

export const maxCharsSchema = z.object({ head: z.number().int().positive(), tail: z.number().int().nonnegative() })

export const featuresSchema = z.object({
  clip: z.number().positive(),
  gain: z.number(),
  list: z
    .array(z.object({ name: z.string(), mean: z.number(), std: z.number().positive() }))
    .refine((list) => list.map(({ name }) => name).join() === FEATURE_NAMES.join(), {
      error: 'text features that this gateway does not know',
    }),
})
