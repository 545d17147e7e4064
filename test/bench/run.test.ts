import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

// The whole bench at its quickest: every experiment runs and tells numbers. How good they are is not for a test to say.

const RUN = fileURLToPath(new URL('run.ts', import.meta.url))

it.skipIf(process.platform !== 'linux')(
  'runs every experiment and writes what it measured',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'persona-router-bench-test-'))
    try {
      const out = join(dir, 'quick.json')
      const child = spawn(process.execPath, [RUN, '--quick', '--out', out], { stdio: ['ignore', 'pipe', 'pipe'] })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (text) => {
          output += text
        })
      }
      expect(await new Promise((done) => child.once('exit', done)), output).toBe(0)
      const results = JSON.parse(readFileSync(out, 'utf8'))
      expect(results.parts['everything on'].cpuUs).toBeGreaterThan(0)
      expect(results.parts['without gnn'].cpuUs).toBeGreaterThan(0)
      expect(Object.keys(results.latency)).toEqual(['1', '32', '256'])
      expect(results.streaming['everything on'].chunkUs).toEqual(expect.any(Number))
      expect(results.idle.streams).toBe(200)
      expect(Object.keys(results.bodies)).toEqual(['200 B', '20 KB', '1 MB'])
      expect(Object.keys(results.pools)).toContain('100 candidates')
      expect(results.workers['2 workers'].perSecond).toBeGreaterThan(0)
      expect(results.swap.requests).toBeGreaterThanOrEqual(400)
      expect(results.swap.swaps).toBeGreaterThan(0)
      expect(output).toMatch(/CPU per request, x the bare proxy/)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  },
  240_000,
)
