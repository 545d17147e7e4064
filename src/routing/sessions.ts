import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { InferenceSession } from 'onnxruntime-node'
import type { RouterConfig } from '../config.ts'
import { GRAPHS, type GraphName } from './manifest.ts'

export type Device = 'cpu' | 'cuda'
export type Sessions = Readonly<Record<GraphName, InferenceSession>>

/** Two cores serve requests, not matrices of a few thousand numbers: one thread a run, no pool that spins. */
const OPTIONS = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
} satisfies InferenceSession.SessionOptions

/**
 * Opens the four graphs. Only `score` goes to the GPU: the others run per reward, on one row, where launching hundreds of small
 * kernels costs more than it saves.
 *
 * @param device `auto`: CUDA where it can be had, else the CPU
 * @throws what ONNX Runtime throws for a broken graph, or for `cuda` where there is none
 */
export async function openSessions(
  graphs: Readonly<Record<GraphName, Uint8Array>>,
  device: RouterConfig['device'],
): Promise<{ sessions: Sessions; device: Device; note: string | null }> {
  const opened: Partial<Record<GraphName, InferenceSession>> = {}
  let found: Device = 'cpu'
  let note: string | null = null
  if (device === 'auto' && !hasCudaLibraries()) {
    note = 'no CUDA, so the CPU: the CUDA libraries of onnxruntime-node are not installed'
  } else if (device !== 'cpu') {
    try {
      opened.score = await InferenceSession.create(graphs.score, { ...OPTIONS, executionProviders: ['cuda', 'cpu'] })
      found = 'cuda'
    } catch (error) {
      if (device === 'cuda') throw error
      note = `no CUDA, so the CPU: ${(error as Error).message}`
    }
  }
  for (const graph of GRAPHS) {
    opened[graph] ??= await InferenceSession.create(graphs[graph], { ...OPTIONS, executionProviders: ['cpu'] })
  }
  return { sessions: opened as Sessions, device: found, note }
}

/** ONNX Runtime prints an error of its own where they lack, before it throws: so we look first. */
function hasCudaLibraries(): boolean {
  const bin = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '../bin')
  const platform = join(process.platform, process.arch)
  const name = process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so'
  return readdirSync(bin).some((napi) => existsSync(join(bin, napi, platform, name)))
}
