import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ARTIFACTS = fileURLToPath(new URL('../../../router-model/artifacts', import.meta.url))

/** Its folder. @throws Error where there is none */
export function newestArtifact(): string {
  const newest = readdirSync(ARTIFACTS)
    .filter((name) => existsSync(join(ARTIFACTS, name, 'manifest.json')))
    .sort()
    .at(-1)
  if (newest === undefined) throw new Error('There is no artifact to route by.')
  return join(ARTIFACTS, newest)
}
