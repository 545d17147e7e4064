import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const windows = process.platform === 'win32'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const routerModel = join(root, 'router-model')
export const cache = join(root, '.cache')

/** Programs that setup fetched, such as redis-server; first on the PATH of every check. */
export const cacheBin = join(cache, 'bin')

export const venv = join(routerModel, '.venv')
const venvBin = join(venv, windows ? 'Scripts' : 'bin')

/** @param {string} name a program of the Python environment */
export const inVenv = (name) => join(venvBin, windows ? `${name}.exe` : name)
