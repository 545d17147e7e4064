import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { END } from '../../runtime/end-worker.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import { ArtifactError } from '../artifact/error.ts'
import { readArtifact } from '../artifact/files.ts'
import type { ArtifactFiles, Graph } from '../artifact/types.ts'
import type { Believed, SentTensors } from './belief-job.ts'
import { type Believer, believe } from './believe.ts'
import { believeTogether, MOST_TOGETHER } from './believe-together.ts'
import { type Answer, type Job, LEARNING_GRAPHS, type LearningGraph, MODEL_THREAD, type Results, send } from './jobs.ts'
import { openGraph } from './sessions.ts'
import { runUser } from './user-graph.ts'

/**
 * The model thread: checks artifacts, and runs the graphs that learning needs. Both block a thread for milliseconds,
 * which the thread that serves requests can't afford. That one loads this file, too, and does nothing with it
 * (`thread.ts`).
 */
const artifacts = new Map<number, Opened>()
/** Read, and opened next: whoever waits for the files has work of their own to do with them. */
const loaded = new Map<number, ArtifactFiles>()

interface Opened {
  graphs: Record<LearningGraph, Graph>
  /** Once it has been asked for. */
  believer: Promise<Believer> | null
  files: Pick<ArtifactFiles, 'manifest'>
}

type Message = { id: number; job: Job } | typeof END

// One job after the other, in the order they came; rewards that came while another job ran are one.
let queue = Promise.resolve()
const waiting: Message[] = []

if (workerData === MODEL_THREAD) {
  // Each schema is used once: compiled, it would take longer.
  z.config({ jitless: true })
  parentPort!.on('message', (message: Message) => {
    waiting.push(message)
    queue = queue.then(next)
  })
}

async function next(): Promise<void> {
  const message = waiting.shift()
  if (message === undefined) return
  if (message === END) return parentPort!.close()
  const together = rewardsWith(message)
  if (together.length > 1) {
    const { key } = together[0]!.job
    const found = await believerIn(key)
      .then((by) =>
        believeTogether(
          by,
          together.map(({ job }) => job.job),
        ),
      )
      .catch(() => null)
    for (const [i, { id, job }] of together.entries()) {
      const result = found?.[i]
      await answer(id, job, result ? Promise.resolve(result) : work(job))
    }
    return
  }
  await answer(message.id, message.job, work(message.job))
}

async function answer(id: number, job: Job, working: Promise<Results[keyof Results]>): Promise<void> {
  const made: Answer = await working.then(
    (result) => ({ id, result }),
    (error: Error) => ({
      id,
      error: error.message,
      check: error instanceof ArtifactError ? error.check : null,
    }),
  )
  parentPort!.postMessage(made, 'result' in made ? buffersOf(job, made.result) : [])
}

type Reward = { id: number; job: Extract<Job, { op: 'believe' }> }

/** This one, where it is a reward, and those of the same artifact that came right after it: they wait no longer. */
function rewardsWith(message: Exclude<Message, typeof END>): Reward[] {
  const isReward = (one: Message | undefined): one is Reward => typeof one === 'object' && one.job.op === 'believe'
  if (!isReward(message)) return []
  const together = [message]
  for (let one = waiting[0]; together.length < MOST_TOGETHER && isReward(one); one = waiting[0]) {
    if (one.job.key !== message.job.key) break
    together.push(one)
    waiting.shift()
  }
  return together
}

async function work(job: Job): Promise<Results[keyof Results]> {
  switch (job.op) {
    case 'load': {
      const files = await readArtifact(job.directory, job.publicKey)
      loaded.set(job.key, files)
      return files
    }
    case 'open': {
      const files = job.files ?? loaded.get(job.key)
      loaded.delete(job.key)
      if (files) await open(job.key, files)
      return null
    }
    case 'run': {
      const graph = openedAs(job.key).graphs[job.graph]
      const feeds = Object.entries(job.feeds).map(([name, { type, data, dims }]) => [
        name,
        new Tensor(type, data as Float32Array, dims),
      ])
      return send(await graph.run(Object.fromEntries(feeds)))
    }
    case 'believe':
      return believe(await believerIn(job.key), job.job)
    case 'release':
      artifacts.delete(job.key)
      return null
  }
}

async function open(key: number, { manifest, graphs, golden }: ArtifactFiles): Promise<void> {
  const opened: Partial<Record<LearningGraph, Graph>> = {}
  for (const name of LEARNING_GRAPHS) opened[name] = await openGraph(name, graphs[name], manifest.dims, golden)
  artifacts.set(key, { graphs: opened as Record<LearningGraph, Graph>, believer: null, files: { manifest } })
}

function openedAs(key: number): Opened {
  const opened = artifacts.get(key)
  if (!opened) throw new Error('The artifact has been let go.')
  return opened
}

async function believerIn(key: number): Promise<Believer> {
  const opened = openedAs(key)
  opened.believer ??= believerOf(opened)
  return opened.believer
}

async function believerOf({ graphs, files: { manifest } }: Opened): Promise<Believer> {
  const { edge, user } = graphs
  const scratch = new Float32Array(manifest.dims.H)
  const { state: cold } = await runUser(user, manifest.dims, scratch)
  return { edge, user, manifest, cold, scratch }
}

/** Outputs are handed over rather than copied: those of 64 rewards are half a megabyte. */
function buffersOf({ op }: Job, result: Results[keyof Results]): ArrayBuffer[] {
  if (op === 'run') return Object.values(result as SentTensors).map(({ data }) => data.buffer as ArrayBuffer)
  if (op !== 'believe') return []
  const { sums, state, packed, last } = result as Believed
  return [sums, state, packed, ...(last ? [last] : [])].map(({ buffer }) => buffer as ArrayBuffer)
}
