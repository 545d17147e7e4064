/**
 * Scoring on the CPU and on a GPU: latency of one run and throughput, by batch; and the MiniLM embedder where its
 * folder is given.
 *
 *     node test/bench/device.ts [folder of a MiniLM embedder] [--quick]
 */
import { basename } from 'node:path'
import { MinilmEmbedder } from '../../src/embedding/minilm-embedder.ts'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import { hasCudaLibraries } from '../../src/runtime/cuda.ts'
import { Tensor } from '../../src/runtime/onnxruntime.ts'
import { newestArtifact } from './harness/newest-artifact.ts'
import { quantiles } from './harness/quantiles.ts'
import { table } from './harness/tables.ts'

const CANDIDATES = 12
const args = process.argv.slice(2)
const [WARM_UP_RUNS, ROUND_MS] = args.includes('--quick') ? [1, 20] : [5, 1_500]

const folder = newestArtifact()

const rows: string[][] = []

async function measure(device: string, what: string, batch: number, run: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < WARM_UP_RUNS; i++) await run()
  const times: number[] = []
  for (const until = performance.now() + ROUND_MS; performance.now() < until; ) {
    const from = performance.now()
    await run()
    times.push(performance.now() - from)
  }
  const { p50, p99 } = quantiles(times)
  rows.push([
    device,
    what,
    `${batch}`,
    `${p50.toFixed(3)} ms`,
    `${p99.toFixed(3)} ms`,
    ((1e3 * batch) / p50).toFixed(0),
  ])
}

async function scoreOn(device: 'cpu' | 'cuda'): Promise<void> {
  const { dims, sessions } = await loadArtifact(folder, device)
  const { E, S, Z } = dims
  const noise = (...shape: number[]) => {
    const size = shape.reduce((a, b) => a * b, 1)
    return new Tensor(
      'float32',
      Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7) / 16),
      shape,
    )
  }
  for (const batch of [1, 32, 1_024]) {
    const feeds = {
      query: noise(batch, E),
      prompt_tokens: new Tensor('float32', new Float32Array(batch).fill(80), [batch]),
      state: noise(batch, S),
      z: noise(CANDIDATES, Z),
      anchor: noise(1, Z),
      cost_weight: new Tensor('float32', new Float32Array(batch).fill(-1), [batch]),
    }
    await measure(device, 'score.onnx, 12 candidates', batch, () => sessions.score.run(feeds))
  }
}

async function embedOn(device: 'cpu' | 'cuda', minilm: string): Promise<void> {
  const embedder = await MinilmEmbedder.load(minilm, { device })
  for (const batch of [1, 32]) {
    const texts = Array.from(
      { length: batch },
      (_, i) => `Question ${i}: how does a bill become law, and who may stop it?`,
    )
    await measure(device, 'MiniLM', batch, () => Promise.all(texts.map((text) => embedder.embed(text))))
  }
  await embedder.close()
}

const devices = hasCudaLibraries() ? (['cpu', 'cuda'] as const) : (['cpu'] as const)
const minilm = args.find((word) => !word.startsWith('--'))
for (const device of devices) {
  await scoreOn(device)
  if (minilm) await embedOn(device, minilm)
}
console.log(`${basename(folder)}\n`)
console.log(table(['device', 'what', 'batch', 'p50', 'p99', 'rows / s'], rows))
if (devices.length === 1) console.log('\nCUDA: not tried, its libraries are not installed (docs/gpu.md)')
process.exit(0)
