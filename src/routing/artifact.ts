import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { InferenceSession } from 'onnxruntime-node'
import { z } from 'zod'
import type { RouterConfig } from '../config.ts'
import { checkGolden, type GoldenText } from './golden.ts'
import { type Dims, GRAPHS, type GraphName, type Manifest, manifestSchema, SIGNATURES, sizeOf } from './manifest.ts'
import { type Device, openSessions, type Sessions } from './sessions.ts'

/** A trained router model that has passed every check: sessions, manifest, and evidence on LLMs of the training data. */
export interface Artifact {
  readonly directory: string
  readonly version: string
  readonly manifest: Manifest
  readonly dims: Dims
  readonly device: Device
  /** Why not CUDA, where that was asked for or tried; else null. */
  readonly deviceNote: string | null
  readonly sessions: Sessions
  /** Lower-cased name or alias of an LLM -> its evidence, [V]. */
  readonly population: ReadonlyMap<string, Float32Array>
  readonly goldenTexts: readonly GoldenText[]
}

export type ArtifactCheck = 'manifest' | 'file' | 'hash' | 'graph' | 'signature' | 'population' | 'golden' | 'embedder'

/** An artifact that must not be served: which check it failed, and by how much. */
export class ArtifactError extends Error {
  override readonly name = 'ArtifactError'
  readonly check: ArtifactCheck

  constructor(check: ArtifactCheck, message: string, cause?: unknown) {
    super(`${check}: ${message}`, cause === undefined ? undefined : { cause })
    this.check = check
  }
}

/**
 * Reads and checks a directory without touching anything that serves: manifest, hashes, graphs, signatures, population, golden vectors.
 *
 * @throws ArtifactError
 */
export async function loadArtifact(directory: string, device: RouterConfig['device'] = 'cpu'): Promise<Artifact> {
  const manifest = await readManifest(directory)
  const files = await readFiles(directory, manifest)
  const opened = await openSessions(graphsOf(files), device).catch((error: Error) => {
    throw new ArtifactError('graph', error.message, error)
  })
  for (const graph of GRAPHS) checkSignature(graph, opened.sessions[graph], manifest.dims)
  const population = readPopulation(fileOf(files, 'population.json'), manifest)
  const goldenTexts = await checkGolden(opened.sessions, fileOf(files, 'golden.json'))
  return {
    directory,
    version: manifest.version,
    manifest,
    dims: manifest.dims,
    device: opened.device,
    deviceNote: opened.note,
    sessions: opened.sessions,
    population,
    goldenTexts,
  }
}

async function readManifest(directory: string): Promise<Manifest> {
  const text = await readFile(join(directory, 'manifest.json'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ArtifactError('manifest', `manifest.json can’t be read (${error.code ?? error.message})`, error)
  })
  const parsed = manifestSchema.safeParse(parseJson('manifest', 'manifest.json', text))
  if (parsed.success) return parsed.data
  throw new ArtifactError('manifest', z.prettifyError(parsed.error))
}

/** Reads once: what was hashed is what is run, whatever happens to the file in between. */
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

function fileOf(files: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const data = files.get(name)
  if (!data) throw new ArtifactError('file', `the manifest does not name ${name}`)
  return data
}

const graphsOf = (files: ReadonlyMap<string, Buffer>) =>
  Object.fromEntries(GRAPHS.map((graph) => [graph, fileOf(files, `${graph}.onnx`)])) as unknown as Readonly<
    Record<GraphName, Uint8Array>
  >

function checkSignature(graph: GraphName, session: InferenceSession, dims: Dims): void {
  const expected = SIGNATURES[graph]
  for (const [side, found, wanted] of [
    ['input', session.inputMetadata, expected.inputs],
    ['output', session.outputMetadata, expected.outputs],
  ] as const) {
    const names = found.map(({ name }) => name)
    if (names.length !== Object.keys(wanted).length || !names.every((name) => name in wanted)) {
      const list = Object.keys(wanted).join(', ')
      throw new ArtifactError('signature', `${graph}.onnx has the ${side}s ${names.join(', ')}, not ${list}`)
    }
    for (const value of found) {
      const axes = wanted[value.name] ?? []
      const type = value.name === 'kind' ? 'int64' : 'float32'
      const shape = value.isTensor ? value.shape : []
      const fits =
        value.isTensor &&
        value.type === type &&
        shape.length === axes.length &&
        axes.every((axis, i) => {
          const size = sizeOf(axis, dims)
          // A free axis has a name; an output's fixed one may have a name, too, where shape inference gave up.
          return typeof shape[i] === 'number' ? shape[i] === size : size === null || side === 'output'
        })
      if (fits) continue
      const is = value.isTensor ? `${value.type} [${shape.join(', ')}]` : 'no tensor'
      const wants = `${type} [${axes.map((axis) => sizeOf(axis, dims) ?? axis).join(', ')}]`
      throw new ArtifactError('signature', `${graph}.onnx: ${side} ${value.name} is ${is}, not ${wants}`)
    }
  }
}

function readPopulation(data: Buffer, { dims, aliases }: Manifest): Map<string, Float32Array> {
  const parsed = z.record(z.string(), z.string()).safeParse(parseJson('population', 'population.json', data.toString()))
  if (!parsed.success) throw new ArtifactError('population', z.prettifyError(parsed.error))
  const population = new Map<string, Float32Array>()
  for (const [llm, text] of Object.entries(parsed.data)) {
    const evidence = decodeFloats(text)
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
