#!/usr/bin/env node
// Removes the native libraries of other platforms, some 240 MB: onnxruntime-node ships them all. For images; run once.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const binaries = join('node_modules', 'onnxruntime-node', 'bin')

for (const abi of readdirSync(binaries)) {
  for (const platform of readdirSync(join(binaries, abi))) {
    for (const arch of readdirSync(join(binaries, abi, platform))) {
      if (platform === process.platform && arch === process.arch) continue
      rmSync(join(binaries, abi, platform, arch), { recursive: true })
    }
  }
}
