import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type ArtifactCheck, ArtifactError } from './error.ts'
import { parseGolden } from './golden.ts'
import { GRAPHS, type Manifest, manifestSchema } from './manifest.ts'
import { checkSignature } from './signature.ts'
import { readTasks, TASKS_FILE } from './tasks.ts'
import type { ArtifactFiles, GraphBytes } from './types.ts'

/**
 * Reads a directory and checks its signature, where there is a key for it, manifest, hashes, population and the form of
 * the golden vectors.
 *
 * @param publicKey PEM of whoever may have made it; null = anybody
 * @throws ArtifactError
 */
export async function readArtifact(directory: string, publicKey: string | null = null): Promise<ArtifactFiles> {
  const manifest = await readManifest(directory, publicKey)
  const files = await readFiles(directory, manifest)
  const fileOf = (name: string) => {
    const data = files.get(name)
    if (!data) throw new ArtifactError('file', `the manifest does not name ${name}`)
    return data
  }
  const graphs = Object.fromEntries(GRAPHS.map((graph) => [graph, fileOf(`${graph}.onnx`)])) as unknown as GraphBytes
  const tasks = files.get(TASKS_FILE)
  return {
    manifest,
    graphs,
    tasks: tasks ? readTasks(tasks.toString(), manifest.dims.E) : null,
    golden: parseGolden(parseJson('golden', 'golden.json', fileOf('golden.json').toString())),
    population: readPopulation(fileOf('population.json').toString(), manifest),
  }
}

async function readManifest(directory: string, publicKey: string | null): Promise<Manifest> {
  const bytes = await readFile(join(directory, 'manifest.json')).catch((error: NodeJS.ErrnoException) => {
    throw new ArtifactError('manifest', `manifest.json can’t be read (${error.code ?? error.message})`, error)
  })
  if (publicKey !== null) await checkSignature(directory, bytes, publicKey)
  const parsed = manifestSchema.safeParse(parseJson('manifest', 'manifest.json', bytes.toString()))
  if (parsed.success) return parsed.data
  throw new ArtifactError('manifest', z.prettifyError(parsed.error))
}

async function readFiles(directory: string, manifest: Manifest): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  for (const [name, { sha256, bytes }] of Object.entries(manifest.files)) {
    const data = await readFile(join(directory, name)).catch((error: NodeJS.ErrnoException) => {
      throw new ArtifactError('file', `${name} can’t be read (${error.code ?? error.message})`, error)
    })
    if (data.length !== bytes) throw new ArtifactError('hash', `${name} has ${data.length} bytes, not ${bytes}`)
    const found = createHash('sha256').update(data).digest('hex')
    if (found !== sha256) {
      throw new ArtifactError('hash', `${name} has SHA-256 ${found.slice(0, 12)}…, not ${sha256.slice(0, 12)}…`)
    }
    files.set(name, data)
  }
  const strangers = manifest.embedder.files.filter((name) => !files.has(name))
  if (strangers.length > 0) throw new ArtifactError('file', `no hash for ${strangers.join(', ')}`)
  return files
}

function readPopulation(text: string, { dims, aliases }: Manifest): Map<string, Float32Array> {
  const parsed = z.record(z.string(), z.string()).safeParse(parseJson('population', 'population.json', text))
  if (!parsed.success) throw new ArtifactError('population', z.prettifyError(parsed.error))
  const population = new Map<string, Float32Array>()
  for (const [llm, base64] of Object.entries(parsed.data)) {
    const evidence = decodeFloats(base64)
    if (evidence?.length !== dims.V || !evidence.every(Number.isFinite)) {
      throw new ArtifactError('population', `the evidence of ${llm} is not ${dims.V} finite numbers`)
    }
    for (const name of [llm, ...(aliases[llm] ?? [])]) population.set(name.toLowerCase(), evidence)
  }
  return population
}

/** Little-endian float32 in base64; undefined where the length does not fit. */
function decodeFloats(base64: string): Float32Array | undefined {
  const bytes = Buffer.from(base64, 'base64')
  return bytes.length % 4 === 0 ? new Float32Array(Uint8Array.from(bytes).buffer) : undefined
}

function parseJson(check: ArtifactCheck, name: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ArtifactError(check, `${name} is not JSON`, error)
  }
}
