import type { z } from 'zod'

/** Text that a judge reads: it can't close the frame that it stands in. */
export const framed = (tag: string, text: string) => `<${tag}>\n${text.replaceAll('<', '‹')}\n</${tag}>`

/** The last JSON object in a reply that has this form; null where there is none. */
export function lastJson<T>(text: string, schema: z.ZodType<T>): T | null {
  for (const candidate of (text.match(/\{[^{}]*\}/g) ?? []).reverse()) {
    try {
      const parsed = schema.safeParse(JSON.parse(candidate))
      if (parsed.success) return parsed.data
    } catch {
      // Not JSON: an earlier one may be.
    }
  }
  return null
}
