import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

// At its quickest: users are loaded and asked for, and a page is written. How good the figures are is not for a test.

const RUN = fileURLToPath(new URL('scale.ts', import.meta.url))

it('loads users into a redis-server, asks for them, and writes the page', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-scale-test-'))
  try {
    const out = join(dir, 'scale.md')
    const child = spawn(process.execPath, [RUN, '2000', '1', '--quick', '--out', out], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        output += text
      })
    }
    expect(await new Promise((done) => child.once('exit', done)), output).toBe(0)
    const page = readFileSync(out, 'utf8')
    expect(page).toMatch(/^## 2,000 users, run$/m)
    expect(page).toMatch(/^\| 2,000 users \| [\d,]+ \| 0 \|/m)
    expect(page).not.toMatch(/NaN|undefined/)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}, 300_000)
