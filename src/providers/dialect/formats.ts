import type { Dialect } from '../../candidates/dialect.ts'
import type { ChatBody } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import { hasKeyword } from './tool-schema.ts'

/**
 * A request's `response_format` as a model takes it, the very same where nothing is to be changed; or why it can't.
 *
 * @param rules of its dialect
 */
export function formatFor(body: ChatBody, rules: Dialect['formats']): { format: unknown } | string {
  const format = body.response_format
  const { type, json_schema: given } = isObject(format) ? format : {}
  if (type !== 'json_schema' && type !== 'json_object') return { format }
  const fate = rules[type] ?? 'keep'
  if (fate === 'avoid') return `does not take response_format ${type}`
  const beside = rules.not_with?.find((field) => (field === 'tools' ? body.tools?.length : body.stream === true))
  if (beside !== undefined) return `does not take response_format beside ${beside}`
  if (type === 'json_object') return { format }
  const schema = isObject(given) && isObject(given.schema) ? given.schema : {}
  const odd = rules.schema_avoid?.find((keyword) => hasKeyword(schema, keyword))
  if (odd !== undefined) return `does not keep to ${odd} in a JSON schema`
  return { format: fate === 'in_object' ? { type: 'json_object', schema } : format }
}
