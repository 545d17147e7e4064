#!/usr/bin/env node
// Writes dist/: src/ as a few files of JavaScript, which `bin/persona-router.mjs` runs where they are there and newer
// than what they were made of. Node then strips no types, and reads some dozens of files instead of several hundred.
// With --beside the bundle before stays, for the gateways that run from it.
import { bundle } from './lib/bundle.mjs'
import { root } from './lib/paths.mjs'

await bundle(root, { beside: process.argv.includes('--beside') })
