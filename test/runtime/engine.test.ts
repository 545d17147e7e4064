import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

/** Whether optimised code is still there after full collections, while no object lives that it was made for. */
const PROGRAM = `
  const [, engine] = process.argv
  if (engine) (await import(engine)).tuneEngine()
  const make = (i) => { const made = { i }; made.twice = { of: 2 * i }; return made }
  const use = (made) => made.i + made.twice.of;
  %PrepareFunctionForOptimization(use);
  for (let i = 0; i < 100; i++) use(make(i));
  %OptimizeFunctionOnNextCall(use)
  use(make(1))
  const isOptimised = () => (%GetOptimizationStatus(use) & 64) !== 0
  const before = isOptimised()
  for (let i = 0; i < 5; i++) {
    gc({ type: 'major', execution: 'sync' })
    await new Promise((next) => setImmediate(next))
  }
  console.log(JSON.stringify([before, isOptimised()]))
`

async function survives(engine: string[]): Promise<unknown> {
  const flags = ['--allow-natives-syntax', '--expose-gc', '--input-type=module', '--eval', PROGRAM]
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, ...engine])
  return JSON.parse(stdout)
}

test('optimised code outlives full collections while no request is in work, which V8 by itself throws away', async () => {
  const tuned = survives([new URL('../../src/runtime/engine.ts', import.meta.url).href])
  expect(await Promise.all([survives([]), tuned])).toEqual([
    [true, false],
    [true, true],
  ])
})
