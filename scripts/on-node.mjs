#!/usr/bin/env node
// Runs a TypeScript program of this repository on a Node that understands it: `node scripts/on-node.mjs <file>
// [arguments]`.
import { spawnSync } from 'node:child_process'
import { delimiter } from 'node:path'
import { findNode, NODE_MAJOR } from '../bin/node-runtime.mjs'
import { cacheBin, root } from './lib/paths.mjs'

const node = findNode(root)
if (!node) {
  console.error(`This needs Node ${NODE_MAJOR}; run: npm run setup`)
  process.exit(1)
}
const env = { ...process.env, PATH: [cacheBin, process.env.PATH].join(delimiter) }
const { status } = spawnSync(node, process.argv.slice(2), { cwd: root, env, stdio: 'inherit' })
process.exit(status ?? 1)
