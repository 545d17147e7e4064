import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { type Check, runLanes, summarise } from '../../scripts/lib/lanes.mjs'

/** A check that prints its name line by line, slowly enough to overlap with its neighbours. */
const check = (name: string, code = 0): Check => ({
  name,
  command: process.execPath,
  args: [
    '-e',
    `let n = 0
     setInterval(() => {
       console.log('${name}', ++n)
       if (n === 5) { console.error('${name} 1 passed in 0.1s'); process.exit(${code}) }
     }, 20)`,
  ],
  cwd: import.meta.dirname,
  closing: /passed in/,
})

const run = async (lanes: Check[][]) => {
  let text = ''
  const out = new Writable({
    write(chunk, _, done) {
      text += chunk
      done()
    },
  })
  const results = await runLanes(lanes, out as NodeJS.WriteStream)
  return { results, text }
}

describe('runLanes', () => {
  it('prints each check in one piece, under its heading', async () => {
    const { results, text } = await run([[check('a'), check('b')], [check('c')]])
    for (const name of ['a', 'b', 'c']) {
      const lines = [1, 2, 3, 4, 5].map((n) => `${name} ${n}\n`).join('')
      expect(text).toContain(`${lines}${name} 1 passed in 0.1s\n`)
      expect(text).toMatch(new RegExp(`── ${name}: passed in \\d+\\.\\d s ──\n${name} 1`))
    }
    expect(results.map(({ name }) => name).indexOf('a')).toBeLessThan(results.map(({ name }) => name).indexOf('b'))
  })

  it('goes on after a failure and reports it', async () => {
    const missing = { ...check('missing'), command: '/nonexistent/program' }
    const { results, text } = await run([[check('bad', 1), check('good')], [missing]])
    expect(Object.fromEntries(results.map(({ name, passed }) => [name, passed]))).toEqual({
      bad: false,
      good: true,
      missing: false,
    })
    expect(text).toContain('── bad: FAILED in')
    expect(text).toContain('ENOENT')

    const summary = summarise(results, 1234)
    expect(summary).toMatch(/^✗ bad +\d+\.\d s$/m)
    expect(summary).toMatch(/^good:\ngood 1 passed in 0\.1s$/m)
    expect(summary).toMatch(/^Failed: .*bad/m)
    expect(summary).toMatch(/^checks: 1 passed, 2 failed$/m)
  })
})
