import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import { findInstalledNode, findNode, NODE_MAJOR } from '../../bin/node-runtime.mjs'
import { step } from './progress.mjs'
import { SetupError } from './setup-error.mjs'

/**
 * @typedef {Record<string, { version?: string, dev?: boolean, optional?: boolean, devOptional?: boolean }>} Packages
 */

/**
 * @param {string} path of a lock file
 * @returns {Packages | undefined}
 */
function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}

/**
 * Whether node_modules holds what package-lock.json asks for, by the list that npm leaves there at the end of an
 * install. Packages for other platforms may be absent.
 *
 * @param {string} root
 * @param {{ dev: boolean }} options whether development tools count too
 */
export function isComplete(root, { dev }) {
  const wanted = readPackages(join(root, 'package-lock.json'))
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
  if (!wanted || !installed) return false
  return Object.entries(wanted).every(([path, entry]) => {
    const present = installed[path]
    if (present) return present.version === entry.version
    return path === '' || entry.optional || (!dev && (entry.dev || entry.devOptional))
  })
}

/** The npm that runs us, on the Node that it runs on: node_modules/.bin/node goes away during an install. */
export function npm() {
  const { npm_execpath: script, npm_node_execpath: node } = process.env
  if (script?.endsWith('.js')) return { command: node ?? process.execPath, args: [script] }
  return { command: process.platform === 'win32' ? 'npm.cmd' : 'npm', args: [] }
}

/** @param {string} root */
function assertNodeRuns(root) {
  const node = findNode(root)
  if (!node) {
    throw new SetupError(`Node ${NODE_MAJOR} or newer is needed; this is ${process.version}.`, [
      `There is no ready-made one for ${process.platform}-${process.arch}, or npm could not fetch it.`,
      `Install Node ${NODE_MAJOR} (your package manager, nvm, fnm or Volta) and run this again.`,
    ])
  }
  const answer = spawnSync(node, ['--version'], { encoding: 'utf8' })
  if (answer.status !== 0) {
    throw new SetupError(`The Node ${NODE_MAJOR} in node_modules does not run on this machine.`, [
      `It needs glibc: on Alpine and other musl systems use a Debian-based image instead.`,
      `Else install Node ${NODE_MAJOR} yourself and run this again.`,
    ])
  }
}

/**
 * npm scripts and people call node_modules/.bin/node. npm 10 drops that link when it skips the packages of the other
 * platforms, which all claim it.
 *
 * @param {string} root
 */
function linkNode(root) {
  const bin = join(root, 'node_modules', '.bin')
  const node = findInstalledNode(root)
  if (!node || process.platform === 'win32' || existsSync(join(bin, 'node'))) return
  symlinkSync(relative(bin, node), join(bin, 'node'))
}

/**
 * Installs the npm packages where they are missing or package-lock.json has changed.
 *
 * @param {string} root
 * @param {{ dev: boolean }} options development tools too; they also stay where they are already installed
 */
export async function ensureNodeModules(root, { dev }) {
  if (isComplete(root, { dev })) return linkNode(root)
  const all = dev || existsSync(join(root, 'node_modules', 'typescript'))
  const { command, args } = npm()
  // No package's own script runs here (docs/security.md).
  const flags = ['--ignore-scripts', all ? '--include=dev' : '--omit=dev']
  const { ok, tail } = await step('installing npm packages', command, [...args, 'ci', ...flags], {
    cwd: root,
    // Read by onnxruntime-node's install script, where npm runs it: no CUDA libraries.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: process.env.ONNXRUNTIME_NODE_INSTALL ?? 'skip' },
  })
  if (!ok) {
    throw new SetupError(
      'The npm packages could not be installed.',
      [
        'Needed: about 900 MB of disk, and a connection to the npm registry or a mirror of it',
        '(npm config set registry …; behind a proxy: HTTPS_PROXY). Then run this again.',
      ],
      tail,
    )
  }
  linkNode(root)
  assertNodeRuns(root)
}
