#!/usr/bin/env node
// Writes package-lock.json from package.json, aside: an install over existing node_modules would leave the packages of
// other platforms out, and npm ci then refuses the file. What was locked stays so, where package.json still allows it;
// delete the lock first to take the newest of all. node_modules stays as it is; `npm ci` brings it up to date.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './lib/paths.mjs'

const folder = mkdtempSync(join(tmpdir(), 'persona-router-lock-'))
try {
  for (const name of ['package.json', '.npmrc', 'package-lock.json']) {
    if (existsSync(join(root, name))) copyFileSync(join(root, name), join(folder, name))
  }
  // Without addresses, the file serves every mirror of the registry.
  const flags = ['--package-lock-only', '--omit-lockfile-registry-resolved']
  execFileSync('npm', ['install', ...flags], { cwd: folder, stdio: 'inherit' })
  copyFileSync(join(folder, 'package-lock.json'), join(root, 'package-lock.json'))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
