import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { aptInstall } from './apt.mjs'
import { inVenv, routerModel, venv } from './paths.mjs'
import { step } from './progress.mjs'
import { SetupError } from './setup-error.mjs'

const MINIMUM = 11
const CANDIDATES = ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.14', 'python']

/**
 * @returns {{ command: string, minor: number, complete: boolean } | undefined} the first Python 3.11+; `complete`: it
 * can make environments
 */
function findPython() {
  const names = process.env.PYTHON ? [process.env.PYTHON] : CANDIDATES
  const probe = 'import sys, importlib.util as u; print(*sys.version_info[:2], bool(u.find_spec("ensurepip")))'
  const found = names.flatMap((command) => {
    const { status, stdout } = spawnSync(command, ['-c', probe], { encoding: 'utf8' })
    const [major, minor, complete] = status === 0 ? stdout.trim().split(' ') : []
    return major === '3' && Number(minor) >= MINIMUM
      ? [{ command, minor: Number(minor), complete: complete === 'True' }]
      : []
  })
  return found.find((python) => python.complete) ?? found[0]
}

async function requirePython() {
  const python = findPython()
  if (python?.complete) return python
  if (python && (await aptInstall(`python3.${python.minor}-venv`))) return python
  if (python) {
    throw new SetupError(`Python 3.${python.minor} is here, but can't make environments.`, [
      `Debian, Ubuntu: apt-get install python3.${python.minor}-venv. Then run this again.`,
    ])
  }
  const named = process.env.PYTHON ? ` PYTHON=${process.env.PYTHON} is none.` : ''
  throw new SetupError(`Python 3.${MINIMUM} or newer is needed for the tests of router-model.${named}`, [
    'Debian, Ubuntu: apt-get install python3 python3-venv. macOS: brew install python.',
    'Elsewhere on disk: PYTHON=/path/to/python3 npm test.',
    'Only the gateway: npm start needs no Python.',
  ])
}

/** What the environment was made from: the declared dependencies and their locked versions. */
function fingerprint() {
  const [declared] = readFileSync(join(routerModel, 'pyproject.toml'), 'utf8').split('[tool.ruff]')
  const locked = readFileSync(join(routerModel, 'requirements.lock'), 'utf8')
  return createHash('sha256').update(`${declared}${locked}`).digest('hex')
}

/**
 * @param {string} title
 * @param {string[]} requirements
 */
async function pipInstall(title, requirements) {
  const flags = ['--no-input', '--disable-pip-version-check', '--progress-bar', 'off']
  const args = ['-m', 'pip', 'install', ...flags, '--constraint', 'requirements.lock', ...requirements]
  const { ok, tail } = await step(title, inVenv('python'), args, { cwd: routerModel })
  if (ok) return
  throw new SetupError(
    `${title} failed.`,
    [
      'Needed: a few GB of disk, and a connection to the Python package index or a mirror of it (PIP_INDEX_URL).',
      'A package that has no build for this Python: choose another one, PYTHON=python3.11 npm test.',
    ],
    tail,
  )
}

/** Makes router-model/.venv, or brings it up to date with pyproject.toml and requirements.lock. */
export async function ensurePython() {
  const stamp = join(venv, 'installed-from')
  const wanted = fingerprint()
  if (existsSync(stamp) && existsSync(inVenv('python')) && readFileSync(stamp, 'utf8') === wanted) return

  if (spawnSync(inVenv('python'), ['-m', 'pip', '--version']).status !== 0) {
    const { command } = await requirePython()
    const made = await step('making router-model/.venv', command, ['-m', 'venv', '--clear', venv])
    if (!made.ok)
      throw new SetupError(`${command} -m venv failed.`, ['Repair that Python, or name another: PYTHON=…'], made.tail)
  }
  const [torch] = readFileSync(join(routerModel, 'pyproject.toml'), 'utf8').match(/torch==[\d.]+/) ?? ['torch']
  // First and alone: what is on the machine (a CPU build, say) then satisfies every other package.
  await pipInstall('installing PyTorch (large)', [torch])
  await pipInstall('installing the Python packages', ['--editable', '.[all]'])
  writeFileSync(stamp, wanted)
}
