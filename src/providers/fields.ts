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
  /** Of an HTTP proxy, or `off`; the environment's (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) where left out. */
  proxy: z.union([z.literal('off'), z.url({ protocol: /^https?$/ })]).optional(),
  /** PEM files: the CA of the server, if it is none of the usual ones; a certificate of ours, if it wants one. */
  tls: z
    .strictObject({ ca_file: z.string().optional(), cert_file: z.string().optional(), key_file: z.string().optional() })
    .optional(),
  /** Offer HTTP/2: many requests share a connection (docs/operation.md). */
  http2: z.boolean().default(false),
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
