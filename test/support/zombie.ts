import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ProcessMark } from '../../src/runtime/process-mark.ts'

const MARKED = fileURLToPath(new URL('./marked-process.ts', import.meta.url))

/**
 * A process that was killed (-9), and whose parent never waits for it: only Linux tells it from a living one, so
 * it is made nowhere else. As in a container whose process 1 is no init.
 */
export async function aZombie(): Promise<{ mark: ProcessMark; bury(): void }> {
  const parent = spawn('sh', ['-c', `"$0" "$1" & exec sleep 3600`, process.execPath, MARKED], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface(parent.stdout), 'line')
  const mark = JSON.parse(line as string) as ProcessMark
  process.kill(mark.pid, 'SIGKILL')
  while (!/\) Z /.test(readFileSync(`/proc/${mark.pid}/stat`, 'utf8'))) await sleep(5)
  return { mark, bury: () => void parent.kill('SIGKILL') }
}
