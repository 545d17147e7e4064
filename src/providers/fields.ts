import { z } from 'zod'
import type { Guards } from './guards.ts'

/** Fields of a provider that takes a key. */
export const keyFields = { api_key: z.string().optional(), api_key_file: z.string().optional() }

/** Fields of a provider that is reached over HTTP. */
export const httpFields = {
  ...keyFields,
  /** Where left out (its variable is not set), the provider is off. */
  base_url: z.string().default(''),
  /** Which of `dialects` it speaks; the one of its own name where left out, if there is one. */
  dialect: z.string().optional(),
  headers: z.record(z.string(), z.string()).default({}),
  /** A provider without a key is off, unless it needs none (a local server). */
  key_required: z.boolean().default(true),
  connect_timeout_ms: z.number().int().positive().default(3_000),
  max_connections: z.number().int().positive().default(256),
}

/** Guarded fields, or (`field=value`) single values of them, that clients may set all the same. */
export function passField(guards: Guards) {
  const fields = Object.keys(guards)
  const names = fields.map((field) => field.replace(/[^\w-]/g, '\\$&')).join('|')
  const value = z.string().regex(new RegExp(`^(?:${names})=[\\w.-]+$`))
  return z.array(z.union([z.enum(fields as [string, ...string[]]), value])).default([])
}
