import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { InteractionDocument } from '../../src/store/records/codec.ts'
import type { RunningGateway } from './gateway.ts'

const CLI = fileURLToPath(new URL('../../bin/persona-router.mjs', import.meta.url))

type Exportable = Pick<RunningGateway, 'configFile' | 'dir'>

/** All interactions that a gateway has stored, read by the operator's own command. */
export async function exported(gateway: Exportable): Promise<InteractionDocument[]> {
  const rows = linesOf(await exportOf(gateway))
  return rows.map((line) => JSON.parse(line)).filter(({ type }) => type === 'interaction')
}

/** Writes interactions and rewards to a file. @returns how many there are */
export async function exportedTo(file: string, gateway: Exportable): Promise<number> {
  const text = await exportOf(gateway)
  writeFileSync(file, text)
  return linesOf(text).length
}

async function exportOf({ configFile, dir }: Exportable): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'export', '--config', configFile], {
    cwd: dir,
    maxBuffer: 256 * 1024 * 1024,
  })
  return stdout
}

const linesOf = (text: string) => text.split('\n').filter(Boolean)
