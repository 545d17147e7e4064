#!/usr/bin/env node
// Writes router-model/requirements.lock: the versions now in router-model/.venv.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inVenv, routerModel } from './lib/paths.mjs'

const HEADER =
  '# Constraints, not requirements: the versions that `npm test` installs. Made anew by `npm run lock:python`.\n'

const frozen = execFileSync(inVenv('python'), ['-m', 'pip', 'freeze', '--exclude-editable'], { encoding: 'utf8' })
// torch is pinned in pyproject.toml alone: its builds ("+cpu") differ by machine. What is not from an index can't be
// had elsewhere.
const lines = frozen.split('\n').filter((line) => !line.includes('@') && !line.startsWith('torch=='))
writeFileSync(join(routerModel, 'requirements.lock'), HEADER + lines.join('\n'))
