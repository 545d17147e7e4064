#!/usr/bin/env node
// Writes router-model/requirements.lock: the versions now in router-model/.venv.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inVenv, routerModel } from './lib/paths.mjs'

const HEADER =
  '# Constraints, not requirements: the versions that `npm test` installs. Made anew by `npm run lock:python`.\n'

const frozen = execFileSync(inVenv('python'), ['-m', 'pip', 'freeze', '--exclude-editable'], { encoding: 'utf8' })
// "+cpu" names a build of one machine; what is not from an index can't be had elsewhere.
const lines = frozen.split('\n').flatMap((line) => (line.includes('@') ? [] : [line.replace(/\+\w+$/, '')]))
writeFileSync(join(routerModel, 'requirements.lock'), HEADER + lines.join('\n'))
