import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

// What is prepared for a machine with a GPU must not be found broken when one is there.
it('scores on every device there is, at each size of a batch', () => {
  const script = fileURLToPath(new URL('device.ts', import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--quick'], { encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  const batches = [...stdout.matchAll(/^cpu +score\.onnx, 12 candidates +(\d+) /gm)].map(([, batch]) => batch)
  expect(batches).toEqual(['1', '32', '1024'])
}, 60_000)
