import { z } from 'zod'
import { apis } from '../../../candidates/schema.ts'
import { httpFields, passField } from '../../fields.ts'
import { OPENAI_GUARDS } from '../../guards.ts'

const schema = z.strictObject({
  kind: z.literal('openai-compatible'),
  ...httpFields,
  pass: passField(OPENAI_GUARDS),
  /** `responses`: it has a Responses endpoint of its own; `completions`: one of legacy completions. */
  api: apis(['chat', 'responses', 'completions']).default(['chat']),
  /** Paths of those endpoints; `{model}` is replaced. */
  responses_path: z.string().default('/responses'),
  completions_path: z.string().default('/completions'),
  embeddings_path: z.string().default('/embeddings'),
  /** `bearer`: Authorization; `api-key`: Azure OpenAI. */
  auth: z.enum(['bearer', 'api-key', 'none']).default('bearer'),
  /** Added to every URL, e.g. Azure's `api-version`. */
  query: z.record(z.string(), z.string()).default({}),
  /** Azure: the path holds the deployment, `{model}` is replaced. */
  chat_path: z.string().default('/chat/completions'),
  /**
   * Ask for usage in streamed answers (`stream_options`); false for servers that refuse the field: it is then never
   * sent.
   */
  stream_usage: z.boolean().default(true),
  /** Request fields that this server refuses instead of ignoring: left out. */
  omit: z.array(z.string()).default([]),
  /** Request fields that this server calls otherwise, e.g. `{ max_completion_tokens: max_tokens }`. */
  rename: z.record(z.string(), z.string()).default({}),
  /** Make candidates of what `GET {base_url}/models` lists: for local servers. */
  discover: z.boolean().default(false),
})

export type OpenAICompatibleConfig = z.output<typeof schema>

export const openaiCompatibleKind = {
  schema,
  hasMore: true,
  discovers: ({ discover }: OpenAICompatibleConfig) => discover,
  isLocal: ({ key_required }: OpenAICompatibleConfig) => !key_required,
}
