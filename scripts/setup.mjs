#!/usr/bin/env node
// Puts in place what a command needs; silent and quick when it is there.
// It runs before node_modules exists, on Node 18 and newer: built-in modules only.
import { ensureBundle } from './lib/ensure-bundle.mjs'
import { ensureNodeModules } from './lib/node-modules.mjs'
import { root } from './lib/paths.mjs'
import { SetupError } from './lib/setup-error.mjs'

const [target = 'test'] = process.argv.slice(2)

try {
  await ensureNodeModules(root, { dev: target !== 'start' })
  if (target !== 'python') await ensureBundle(root)
  if (target === 'test' || target === 'python') {
    await (await import('./lib/python.mjs')).ensurePython()
  }
  if (target === 'test') {
    await (await import('./lib/redis.mjs')).ensureRedis()
    await (await import('./lib/chromium.mjs')).ensureChromium()
    await (await import('./lib/helm.mjs')).ensureHelm()
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(error.render())
  process.exitCode = 1
}
