import { z } from 'zod'
import { apis } from '../../../candidates/schema.ts'
import { httpFields, passField } from '../../fields.ts'
import { ANTHROPIC_GUARDS } from '../../guards.ts'

const schema = z.strictObject({
  kind: z.literal('anthropic'),
  ...httpFields,
  pass: passField(ANTHROPIC_GUARDS),
  base_url: z.string().default('https://api.anthropic.com/v1'),
  version: z.string().default('2023-06-01'),
  api: apis(['chat', 'messages']).default(['chat', 'messages']),
  /** Used where a request sets no limit: the Messages API demands one. The model's own where left out, if known. */
  default_max_tokens: z.number().int().positive().optional(),
})

export type AnthropicConfig = z.output<typeof schema>

export const anthropicKind = {
  schema,
  isLocal: ({ key_required }: AnthropicConfig) => !key_required,
}
