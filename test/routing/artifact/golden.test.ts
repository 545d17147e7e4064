import { describe, expect, it } from 'vitest'
import { checkGolden } from '../../../src/routing/artifact/golden.ts'
import type { Golden, Graph } from '../../../src/routing/artifact/types.ts'
import { Tensor } from '../../../src/runtime/onnxruntime.ts'

/** A graph that gives `found` where the artifact's maker saw `expected`. */
function check(expected: number[], found: number[]): Promise<void> {
  const data = Buffer.from(Float32Array.from(expected).buffer).toString('base64')
  const outputs = { z: { shape: [1, expected.length], dtype: 'float32', data } }
  const graph = { run: async () => ({ z: new Tensor('float32', Float32Array.from(found), [1, found.length]) }) }
  const golden = { graphs: { llm: [{ inputs: {}, outputs }] }, embed: [] }
  return checkGolden('llm', graph as unknown as Graph, golden as unknown as Golden)
}

describe('golden outputs', () => {
  it('of which nothing but rounding is left may be rounded otherwise', async () => {
    await check([2e-8, -3e-11], [1.9e-8, 4e-10])
    await check([0, 0], [1e-5, 0])
  })

  it('are to be met to a share of the largest', async () => {
    await check([3, 0.01], [3.0002, 0.0101])
    await expect(check([3, 0.01], [3.001, 0.01])).rejects.toThrow('llm.onnx: z of case 0 is off by 0.00033')
    await expect(check([2e-8, 0], [2e-7, 0.00001])).rejects.toThrow('off by 0.010')
    await expect(check([2e-8, 0], [Number.NaN, 0])).rejects.toThrow('off by NaN')
    await expect(check([1, 2], [1, 2, 3])).rejects.toThrow('off by Infinity')
  })
})
