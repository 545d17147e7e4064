import type { Dialect } from '../../candidates/dialect.ts'
import type { ChatBody } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import { hasKeyword } from './tool-schema.ts'

/**
 * A request's `response_format` in a model's own form, the very same where nothing is to be changed; and why the model
 * would not keep to it, where it is so.
 *
 * @param rules of its dialect
 */
export function formatFor(body: ChatBody, rules: Dialect['formats']): { format: unknown; unfit?: string } {
  const format = body.response_format
  const { type, json_schema: given } = isObject(format) ? format : {}
  if (type !== 'json_schema' && type !== 'json_object') return { format }
  const fate = rules[type] ?? 'keep'
  if (fate === 'avoid') return { format, unfit: `does not take response_format ${type}` }
  const schema = isObject(given) && isObject(given.schema) ? given.schema : {}
  const own = fate === 'in_object' ? { type: 'json_object', schema } : format
  const beside = rules.not_with?.find((field) => (field === 'tools' ? body.tools?.length : body.stream === true))
  if (beside !== undefined) return { format: own, unfit: `does not take response_format beside ${beside}` }
  const odd = type === 'json_schema' && rules.schema_avoid?.find((keyword) => hasKeyword(schema, keyword))
  return odd ? { format: own, unfit: `does not keep to ${odd} in a JSON schema` } : { format: own }
}
