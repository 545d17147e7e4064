import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** Whether onnxruntime-node can load its CUDA provider; trying without it prints to stderr. */
export function hasCudaLibraries(): boolean {
  const bin = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '../bin')
  const platform = join(process.platform, process.arch)
  const name = process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so'
  return readdirSync(bin).some((napi) => existsSync(join(bin, napi, platform, name)))
}
