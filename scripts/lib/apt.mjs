import { spawnSync } from 'node:child_process'
import { step } from './progress.mjs'

/** @param {string} name */
export const onPath = (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0

/** Whether Debian packages can be installed without asking for a password. */
const usable = () => process.getuid?.() === 0 && onPath('apt-get')

/**
 * Installs a Debian package where that is possible.
 *
 * @param {string} name
 * @returns {Promise<boolean>} whether it is installed now
 */
export async function aptInstall(name) {
  if (!usable()) return false
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '--yes', '--no-install-recommends', name]
  const listed = await step('reading the list of Debian packages', 'apt-get', ['update'], { env })
  if (!listed.ok) return false
  return (await step(`installing ${name}`, 'apt-get', install, { env })).ok
}
