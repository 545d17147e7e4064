import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { InteractionDocument } from '../../src/store/documents.ts'
import type { RunningGateway } from './gateway.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

/** All interactions that a gateway has stored, read by the operator's own command. */
export async function exported({
  configFile,
  dir,
}: Pick<RunningGateway, 'configFile' | 'dir'>): Promise<InteractionDocument[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'export', '--config', configFile], {
    cwd: dir,
    maxBuffer: 256 * 1024 * 1024,
  })
  const rows = stdout.split('\n').filter(Boolean)
  return rows.map((line) => JSON.parse(line)).filter(({ type }) => type === 'interaction')
}
