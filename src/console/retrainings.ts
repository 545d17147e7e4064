import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { Config } from '../config/schema.ts'

/** What `retrain` writes of each run, published or refused: `runs/<version>.json` where its artifact lies, or would. */
const runSchema = z.object({
  version: z.string(),
  current: z.string(),
  at: z.string(),
  tenants: z.array(z.string()),
  accepted: z.boolean(),
  published: z.boolean(),
  rewards: z.number(),
  users: z.number(),
  gain: z.object({ value: z.number(), low: z.number(), high: z.number() }),
  gates: z.array(
    z.object({
      name: z.string(),
      /** Null where it is none: nothing could be measured. */
      figure: z.number().nullable(),
      limit: z.number().nullable(),
      short: z.number().nullable(),
      waived: z.boolean(),
      says: z.string(),
    }),
  ),
})

export type Retraining = z.output<typeof runSchema>

/** The latest of them, of those that are there; more are of no interest by now. */
const SHOWN = 20
const MOST_BYTES = 1 << 20

/**
 * The retrainings for a tenant and for all tenants, the latest first. What can't be read is left out: an operator may
 * have put anything there.
 */
export async function retrainings({ router, tenants }: Config, tenant: string): Promise<Retraining[]> {
  const own = tenants.find(({ name }) => name === tenant)?.artifact
  const all = dirname(router.artifact)
  const folders = new Set([all, join(all, 'tenants', tenant), ...(own === undefined ? [] : [dirname(own)])])
  const found = await Promise.all([...folders].map((folder) => readRuns(join(folder, 'runs'))))
  return found
    .flat()
    .sort((a, b) => (a.at < b.at ? 1 : -1))
    .slice(0, SHOWN)
}

async function readRuns(folder: string): Promise<Retraining[]> {
  const names = await readdir(folder).catch(() => [])
  const files = names.filter((name) => name.endsWith('.json'))
  const runs = await Promise.all(files.map((name) => readRun(join(folder, name))))
  return runs.filter((run) => run !== null)
}

async function readRun(file: string): Promise<Retraining | null> {
  try {
    const text = await readFile(file, 'utf8')
    return text.length > MOST_BYTES ? null : runSchema.parse(JSON.parse(text))
  } catch {
    return null
  }
}
