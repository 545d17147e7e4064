import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import type { Candidate } from '../../src/candidates/candidate.ts'
import { configSchema, type RouterConfig } from '../../src/config/schema.ts'
import type { Embedder } from '../../src/embedding/embedder.ts'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import { GraphRouter } from '../../src/routing/model/graph-router.ts'
import type { Policy } from '../../src/routing/policy.ts'
import type { Evidence } from '../../src/store/store.ts'

export const TINY_1 = fileURLToPath(new URL('../fixtures/artifacts/tiny-1', import.meta.url))
export const TINY_2 = fileURLToPath(new URL('../fixtures/artifacts/tiny-2', import.meta.url))
/** As `tiny-1`, but it knows two kinds of people. */
export const TINY_4 = fileURLToPath(new URL('../fixtures/artifacts/tiny-4', import.meta.url))
/** As `tiny-1`, but `llm` takes no codes and `score` gives its variance, too. */
export const TINY_3 = fileURLToPath(new URL('../fixtures/artifacts/tiny-3', import.meta.url))
export const TINY_E = 8

export const silent = pino({ level: 'silent' })

/** A candidate with sensible defaults. */
export const candidate = (name: string, of: Partial<Candidate> = {}): Candidate => ({
  name,
  provider: 'test',
  model: name,
  vendor: 'test',
  description: '',
  price: { input: 1, output: 4 },
  contextWindow: 100_000,
  capabilities: new Set(['tools']),
  groups: ['default'],
  explore: true,
  benchmarks: {},
  ...of,
})

export const CHEAP = candidate('cheap', { price: { input: 0.1, output: 0.4 }, benchmarks: { mmlu: 0.7 } })
export const DEAR = candidate('dear', { price: { input: 10, output: 60 }, benchmarks: { mmlu: 0.85 } })
export const MIDDLE = candidate('middle', { price: { input: 1, output: 4 }, benchmarks: { mmlu: 0.78 } })
export const POOL: readonly Candidate[] = [CHEAP, MIDDLE, DEAR]
export const findCandidate = (name: string) => POOL.find((one) => one.name === name)

/** Vectors of the tiny artifacts' size, from a text's characters. */
export function tinyEmbed(text: string): Float32Array {
  const vector = new Float32Array(TINY_E)
  for (let i = 0; i < text.length; i++) vector[i % TINY_E]! += (text.charCodeAt(i) % 13) - 6
  const norm = Math.hypot(...vector) || 1
  return vector.map((value) => value / norm)
}

export const tinyEmbedder: Embedder = { version: 'tiny', dim: TINY_E, embed: tinyEmbed }

export async function tinyPolicy(
  directory = TINY_1,
  evidence: Evidence | ((tenant: string) => Promise<Evidence>) = new Map(),
  deadlineMs = 1_000,
): Promise<Policy> {
  const artifact = await loadArtifact(directory)
  const router = await GraphRouter.open({
    artifact,
    embed: tinyEmbed,
    loadEvidence: async (tenant) => (typeof evidence === 'function' ? evidence(tenant) : evidence),
    candidatesOf: () => POOL,
    deadlineMs,
    log: silent,
  })
  return { version: artifact.version, router, embedder: tinyEmbedder }
}

export const routerConfig = (of: Record<string, unknown> = {}): RouterConfig =>
  configSchema.parse({ router: { device: 'cpu', watch: false, ...of } }).router

/** A copy of an artifact, to be broken. */
export function copyArtifact(directory = TINY_1): string {
  const copy = join(mkdtempSync(join(tmpdir(), 'artifact-')), 'artifact')
  cpSync(directory, copy, { recursive: true })
  return copy
}

/**
 * Changes a file of an artifact and writes its new hash into the manifest, as a wrong but consistent artifact would
 * have it.
 */
export function rewrite(directory: string, file: string, change: (data: Buffer) => Buffer | string): void {
  const data = Buffer.from(change(readFileSync(join(directory, file))))
  writeFileSync(join(directory, file), data)
  editManifest(directory, (manifest) => {
    manifest.files[file] = { sha256: createHash('sha256').update(data).digest('hex'), bytes: data.length }
  })
}

// biome-ignore lint/suspicious/noExplicitAny: tests put wrong things in it
export function editManifest(directory: string, edit: (manifest: any) => void): void {
  const path = join(directory, 'manifest.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8'))
  edit(manifest)
  writeFileSync(path, JSON.stringify(manifest))
}
