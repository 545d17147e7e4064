import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FairTimer } from '../../src/runtime/fair-timer.ts'

/** One deliberate mistake, and the tests that must notice it. */
export interface Mutation {
  /** From the root of the repository. */
  file: string
  /** Stands there once. */
  find: string
  replace: string
  /** `path` or `path::part of a test's name`. */
  tests: readonly string[]
  /** What the mistake breaks. */
  rule: string
}

export type Verdict = 'killed' | 'survived' | 'stale'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src', 'test', 'demo', 'config', 'scripts', 'bin', 'package.json', 'tsconfig.json', 'vitest.config.ts']
const LINKED = ['node_modules', 'router-model', 'docs', 'deploy', 'integrations', 'README.md', 'LICENSE']
const TIMEOUT_MS = 300_000

/** The file with the mistake in it. @throws Error where what is to be found is not there once */
export function mutated({ file, find, replace }: Mutation, text = readFileSync(join(ROOT, file), 'utf8')): string {
  const times = text.split(find).length - 1
  if (times !== 1) throw new Error(`${file}: ${times} times instead of once: ${find}`)
  if (find === replace) throw new Error(`${file}: nothing is changed: ${find}`)
  return text.replace(find, () => replace)
}

/** A copy of the repository in which mistakes are made, so that nobody else meets them. */
export class Scratch {
  readonly #root = mkdtempSync(join(tmpdir(), 'mutations-'))

  constructor() {
    for (const path of COPIED) cpSync(join(ROOT, path), join(this.#root, path), { recursive: true })
    for (const path of LINKED) symlinkSync(join(ROOT, path), join(this.#root, path))
  }

  /** Whether the tests notice. */
  async verdict(mutation: Mutation): Promise<Verdict> {
    const path = join(this.#root, mutation.file)
    const right = readFileSync(path, 'utf8')
    let wrong: string
    try {
      wrong = mutated(mutation, right)
    } catch {
      return 'stale'
    }
    writeFileSync(path, wrong)
    try {
      for (const test of mutation.tests) if (!(await this.passes(test))) return 'killed'
      return 'survived'
    } finally {
      writeFileSync(path, right)
    }
  }

  /** Whether a test passes in the copy as it is; one that hangs does not. */
  passes(test: string): Promise<boolean> {
    const [file = '', name] = test.split('::')
    const args = ['run', file, '--retry=0', '--bail=1', '--reporter=dot', ...(name === undefined ? [] : ['-t', name])]
    const env = { ...process.env, PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`, VITEST: undefined }
    const child = spawn(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), ...args], {
      cwd: this.#root,
      env,
      stdio: 'ignore',
    })
    return new Promise((done) => {
      // Time for which all of it stood still, stopped by whoever measured, is not the test's.
      const timer = new FairTimer(TIMEOUT_MS, () => child.kill('SIGKILL'))
      child.once('exit', (code) => {
        timer.clear()
        done(code === 0)
      })
    })
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true })
  }
}

/** Where a test that is named must be. */
export const testFile = (test: string): string => join(ROOT, test.split('::')[0] ?? '')

/** Of a mutation, in a report. */
export const placeOf = ({ file, find }: Mutation): string =>
  `${dirname(file).split('/').pop()}/${file.split('/').pop()}: ${find.trim().split('\n')[0]?.slice(0, 80)}`
