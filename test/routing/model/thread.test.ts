import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it, vi } from 'vitest'
import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import type { BeliefJob, Believed } from '../../../src/routing/model/belief-job.ts'
import { send } from '../../../src/routing/model/jobs.ts'
import { modelThread } from '../../../src/routing/model/thread.ts'
import { Tensor } from '../../../src/runtime/onnxruntime.ts'
import { COMMITTED } from '../../support/artifacts.ts'
import { expectClose } from '../../support/close.ts'
import { copyArtifact, TINY_1, TINY_2 } from '../support.ts'

const feeds = (value: number) => ({ sums: new Tensor('float32', new Float32Array(8).fill(value), [1, 8]) })

it('keeps artifacts apart', async () => {
  const [one, two] = await Promise.all([loadArtifact(TINY_1), loadArtifact(TINY_2)])
  const [a, b] = await Promise.all([one.sessions.user.run(feeds(0)), two.sessions.user.run(feeds(0))])
  expect(a.state?.data).not.toEqual(b.state?.data)
  one.release()
  await expect(two.sessions.user.run(feeds(0))).resolves.toEqual(b)
})

it('starts again when it has died, with the artifacts that were open, though their files are gone', async () => {
  const directory = copyArtifact(TINY_1)
  const artifact = await loadArtifact(directory)
  const before = await artifact.sessions.user.run(feeds(1))
  rmSync(directory, { recursive: true })
  const stopping = modelThread.stop()
  await expect(artifact.sessions.user.run(feeds(1))).rejects.toThrow(/model thread ended/)
  await stopping
  expect(await artifact.sessions.user.run(feeds(1))).toEqual(before)
})

it('loads once what was foreseen, and lets go of what was foreseen in vain', async () => {
  modelThread.foresee(TINY_1, null)
  const { key } = await modelThread.load(TINY_1)
  expect((await modelThread.load(TINY_1)).key).toBeGreaterThan(key)
  modelThread.foresee(TINY_1, null)
  const other = await modelThread.load(TINY_2)
  expect(other.files.manifest.version).not.toBe((await modelThread.load(TINY_1)).files.manifest.version)
})

it('goes when it has had nothing to do for a while, and another one takes the next job', async () => {
  const artifact = await loadArtifact(TINY_1)
  const before = await artifact.sessions.user.run(feeds(1))
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const again = await artifact.sessions.user.run(feeds(1))
    expect(again).toEqual(before)
    vi.advanceTimersByTime(120_000)
    expect(await artifact.sessions.user.run(feeds(1))).toEqual(before)
  } finally {
    vi.useRealTimers()
  }
})

it('opens an artifact anew that could not be opened', async () => {
  const { files } = await modelThread.load(TINY_1)
  const broken = { ...files, graphs: { ...files.graphs, user: new Uint8Array([1, 2, 3]) } }
  const run = (key: number, from: typeof files) => modelThread.run(key, from, 'user', send(feeds(1)))
  const key = 1_000_000
  await expect(run(key, broken)).rejects.toThrow(/user.onnx/)
  const { state } = await run(key, files)
  expect(state?.data).toHaveLength(files.manifest.dims.S)
  modelThread.release(key)
})

it('says what is wrong with a run', async () => {
  const artifact = await loadArtifact(TINY_1)
  const odd = { sums: new Tensor('float32', new Float32Array(3), [1, 3]) }
  await expect(artifact.sessions.user.run(odd)).rejects.toThrow(/sums/)
})

it('believes rewards that come at once as those that come one by one, and keeps the order of all else', async () => {
  const { key, files } = await modelThread.load(COMMITTED)
  const { Q, Z } = files.manifest.dims
  const jobOf = (reward: number): BeliefJob => {
    const one = (value: number) => ({ type: 'float32' as const, data: Float32Array.of(value), dims: [1] })
    return {
      rewards: {
        reading: { type: 'float32', data: new Float32Array(Q).fill(0.1), dims: [1, Q] },
        z: { type: 'float32', data: new Float32Array(Z).fill(0.1), dims: [1, Z] },
        ...{
          reward: one(reward),
          weight: one(1),
          prompt_tokens: one(9),
          completion_tokens: one(9),
          cost_usd: one(0.1),
        },
        kind: { type: 'int64', data: BigInt64Array.of(1n), dims: [1] },
      },
      ...{ gone: 0, blocks: [0], newest: 0, sums: null, from: 0, asksLast: true },
    }
  }
  const rewards = Array.from({ length: 11 }, (_, i) => Math.cos(i))
  const singly: Believed[] = []
  for (const reward of rewards) singly.push(await modelThread.believe(key, files, jobOf(reward)))
  const together = rewards.map((reward) => modelThread.believe(key, files, jobOf(reward)))
  modelThread.release(key)
  for (const [i, { state, packed, last }] of (await Promise.all(together)).entries()) {
    expectClose(state, singly[i]!.state, 1e-5)
    expectClose(last!, singly[i]!.last!, 1e-5)
    expect(packed.length).toBeGreaterThan(0)
  }
  // It was let go of after them, not before, and is opened again.
  const again = await modelThread.believe(key, files, jobOf(rewards[0]!))
  expectClose(again.state, singly[0]!.state, 1e-5)
  modelThread.release(key)
})

// Without the close, every second process is aborted.
it('a process that closes it ends as it says, however busy the thread is', () => {
  const program = fileURLToPath(new URL('end-while-busy.ts', import.meta.url))
  for (let i = 0; i < 8; i++) {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, COMMITTED], { encoding: 'utf8' })
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
    expect(stdout).toContain('The model thread is closed.')
  }
}, 120_000)
