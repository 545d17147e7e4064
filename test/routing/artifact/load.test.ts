import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type ArtifactCheck, ArtifactError } from '../../../src/routing/artifact/error.ts'
import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import { copyArtifact, editManifest, POOL, rewrite, TINY_1, TINY_3, tinyPolicy } from '../support.ts'

describe('loadArtifact', () => {
  it('loads a good artifact, with the evidence under every name of an LLM', async () => {
    const artifact = await loadArtifact(TINY_1)
    expect(artifact.version).toBe('tiny-1')
    expect(artifact.device).toBe('cpu')
    expect([...artifact.population.keys()]).toEqual(['known-llm-2024', 'known-llm'])
    expect(artifact.population.get('known-llm')).toEqual(Float32Array.of(10, 9))
  })

  it('serves graphs that take fewer inputs and give more outputs than the gateway knows', async () => {
    const query = { tenant: 't', embedding: new Float32Array(8).fill(0.3), promptTokens: 50, state: null }
    const [known, other] = await Promise.all(
      [TINY_1, TINY_3].map(async (directory) => (await tinyPolicy(directory)).router.score(query, POOL)),
    )
    const means = other?.map(({ mean }) => mean)
    expect(means).toEqual(known?.map(({ mean }) => mean))
    expect(new Set(means).size).toBe(POOL.length)
  })

  const broken: [name: string, check: ArtifactCheck, says: RegExp, damage: (directory: string) => void][] = [
    ['no directory', 'manifest', /can’t be read/, (at) => rmSync(at, { recursive: true })],
    ['manifest is not JSON', 'manifest', /not JSON/, (at) => writeFileSync(join(at, 'manifest.json'), '{')],
    ['another schema', 'manifest', /schema/, (at) => editManifest(at, (m) => Object.assign(m, { schema: 'x/2' }))],
    ['a size that contradicts', 'manifest', /dims\.R/, (at) => editManifest(at, (m) => m.parts.push('more'))],
    [
      'a path that leads outside',
      'manifest',
      /files\["\.\.\/x"\]/,
      (at) => editManifest(at, (m) => Object.assign(m.files, { '../x': m.files['llm.onnx'] })),
    ],
    ['a missing file', 'file', /edge\.onnx/, (at) => rmSync(join(at, 'edge.onnx'))],
    ['a file without a hash', 'file', /user\.onnx/, (at) => editManifest(at, (m) => delete m.files['user.onnx'])],
    [
      'a changed file',
      'hash',
      /score\.onnx has SHA-256/,
      (at) => {
        const changed = (data: Buffer) => data.fill(0, 100, 101)
        const copy = copyArtifact(at)
        rewrite(copy, 'score.onnx', changed)
        rewrite(at, 'score.onnx', changed)
        editManifest(at, (m) => {
          m.files['score.onnx'].sha256 = '0'.repeat(64)
        })
      },
    ],
    ['a truncated file', 'hash', /bytes/, (at) => writeFileSync(join(at, 'score.onnx'), 'short')],
    ['a file that is no graph', 'graph', /./, (at) => rewrite(at, 'score.onnx', () => 'not a graph')],
    [
      'graphs that changed places',
      'signature',
      /user\.onnx takes reading; the gateway can give sums/,
      (at) => rewrite(at, 'user.onnx', () => readOther(at, 'edge.onnx')),
    ],
    [
      'a graph that lacks an output',
      'signature',
      /user\.onnx gives no state/,
      (at) =>
        rewrite(at, 'user.onnx', (data) => Buffer.from(data.toString('latin1').replaceAll('state', 'stale'), 'latin1')),
    ],
    [
      'a graph of other sizes',
      'signature',
      /user\.onnx: output state is float32 \[B, 8\], not float32 \[B, 9\]/,
      (at) => editManifest(at, (m) => Object.assign(m.dims, { S: 9 })),
    ],
    [
      'evidence of another size',
      'population',
      /known-llm-2024/,
      (at) => rewrite(at, 'population.json', () => JSON.stringify({ 'known-llm-2024': 'AAAA' })),
    ],
    [
      'golden outputs that are not met',
      'golden',
      /user\.onnx: state of case 1 is off by 0\.0010/,
      (at) => rewrite(at, 'golden.json', (data) => JSON.stringify(shiftGolden(JSON.parse(data.toString()), 0.001))),
    ],
    [
      'golden outputs that are no numbers',
      'golden',
      /off by NaN/,
      (at) =>
        rewrite(at, 'golden.json', (data) => JSON.stringify(shiftGolden(JSON.parse(data.toString()), Number.NaN))),
    ],
  ]

  it.each(broken)('refuses %s', async (_, check, says, damage) => {
    const directory = copyArtifact()
    damage(directory)
    const error = await loadArtifact(directory).catch((thrown) => thrown)
    expect(error).toBeInstanceOf(ArtifactError)
    expect(error.check).toBe(check)
    expect(error.message).toMatch(says)
  })

  it('forgives what is below the tolerance', async () => {
    const directory = copyArtifact()
    rewrite(directory, 'golden.json', (data) => JSON.stringify(shiftGolden(JSON.parse(data.toString()), 0.00005)))
    expect((await loadArtifact(directory)).version).toBe('tiny-1')
  })

  it('says which device it runs on, and refuses CUDA where there is none', async () => {
    const auto = await loadArtifact(TINY_1, 'auto')
    if (auto.device === 'cuda') return expect((await loadArtifact(TINY_1, 'cuda')).device).toBe('cuda')
    expect(auto.deviceNote).toMatch(/no CUDA/)
    await expect(loadArtifact(TINY_1, 'cuda')).rejects.toMatchObject({ check: 'graph' })
  })
})

function readOther(directory: string, file: string): Buffer {
  let found: Buffer = Buffer.alloc(0)
  rewrite(directory, file, (data) => {
    found = data
    return data
  })
  return found
}

// biome-ignore lint/suspicious/noExplicitAny: a file's content
function shiftGolden(golden: any, share: number): unknown {
  const state = golden.graphs.user[1].outputs.state
  const values = new Float32Array(Uint8Array.from(Buffer.from(state.data, 'base64')).buffer)
  // A share of the largest: the scale of what the check forgives.
  values[0]! += share * Math.max(...values.map(Math.abs))
  state.data = Buffer.from(values.buffer).toString('base64')
  return golden
}
