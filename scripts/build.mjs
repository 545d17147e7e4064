#!/usr/bin/env node
// Writes dist/: src/ as a few files of JavaScript, which `bin/persona-router.mjs` runs as long as the sources are what
// they were made of. Node then strips no types, and reads some dozens of files instead of several hundred.
// The last ones stay, for the gateways that run from them; with --alone, for a package, none does.
import { bundle } from './lib/bundle.mjs'
import { root } from './lib/paths.mjs'

await bundle(root, { alone: process.argv.includes('--alone') })
