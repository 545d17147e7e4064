import module from 'node:module'
import { fileURLToPath } from 'node:url'

/**
 * Keeps what is compiled (TypeScript without its types, V8's code) for the next start, which takes a third less time
 * then. Beside the packages, not in the system's temporary directory: what lies there is run. Where it can't be
 * written, or this Node knows no such cache, nothing is kept.
 */
export function keepCompiled() {
  module.enableCompileCache?.(fileURLToPath(new URL('../node_modules/.cache/compiled', import.meta.url)))
}
