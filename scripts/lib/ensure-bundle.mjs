import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isBundled } from '../../bin/bundle.mjs'
import { findNode } from '../../bin/node-runtime.mjs'
import { step } from './progress.mjs'

/**
 * Puts the source together (`../build.mjs`) where it has changed since. Without a bundle the gateway runs its sources,
 * and starts in twice the time: where none can be made that is all.
 *
 * @param {string} root
 */
export async function ensureBundle(root) {
  const node = findNode(root)
  if (isBundled(root) || !node || !existsSync(join(root, 'node_modules', 'rolldown'))) return
  const { ok, tail } = await step('bundling', node, [join(root, 'scripts', 'build.mjs')], { cwd: root })
  if (!ok) process.stderr.write(`Not bundled, so that starts take longer: ${tail.split('\n').find(Boolean)}\n`)
}
