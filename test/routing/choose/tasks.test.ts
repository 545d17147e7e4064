import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { StaticEmbedder } from '../../../src/embedding/static-embedder.ts'
import { readTasks } from '../../../src/routing/artifact/tasks.ts'
import { type Tasks, taskOf, taskShares } from '../../../src/routing/choose/tasks.ts'

const TASKS: Tasks = { names: ['code', 'writing'], weights: Float32Array.of(4, 0, 0, 4), bias: [0, 0] }
const query = (...values: number[]) => ({ text: 'some words', embedding: Float32Array.from(values) })

test('a query is of the kind that is more probable than all else together', () => {
  const shares = taskShares(query(1, 0), TASKS)
  const sum = Math.exp(4) + 2
  expect(shares.code).toBeCloseTo(Math.exp(4) / sum, 6)
  expect(shares.writing).toBeCloseTo(1 / sum, 6)
  expect(taskOf(query(1, 0), TASKS)).toBe('code')
  expect(taskOf(query(1, 1), TASKS)).toBeNull()
  // Nothing speaks for any: of no kind as probably as of each.
  expect(taskShares(query(0, 0), TASKS).code).toBeCloseTo(1 / 3, 6)
  expect(taskOf(query(500, -500), TASKS)).toBe('code')
})

test('without an embedding, or where none are told apart, it is of none', () => {
  expect([taskOf({ text: 'some words', embedding: null }, TASKS), taskOf(query(1, 0), null)]).toEqual([null, null])
})

test('what has no word in it is of none, whatever the biases say', () => {
  for (const text of ['', ' \n', '...', '🙂', '?!']) {
    expect(taskShares({ ...query(1, 0), text }, TASKS)).toEqual({})
    expect(taskOf({ ...query(1, 0), text }, TASKS)).toBeNull()
  }
  for (const text of ['x', '7', 'é', '写']) expect(taskOf({ ...query(1, 0), text }, TASKS)).toBe('code')
})

test('the artifact in use reads greetings and bare words as of no kind, and tasks as what they are', async () => {
  const folder = join('router-model', 'artifacts', 'current', 'embedder')
  const embedder = await StaticEmbedder.load(folder)
  const tasks = readTasks(readFileSync(join(folder, 'tasks.json'), 'utf8'), embedder.dim)
  const read = (text: string) => taskOf({ text, embedding: embedder.embed(text) }, tasks)
  for (const text of [
    '',
    'hi',
    'Hi!',
    'hey',
    'ok',
    'no',
    'thanks',
    'please',
    'why',
    'Why?',
    'lol',
    'continue',
    '你好',
  ]) {
    expect([text, read(text)]).toEqual([text, null])
  }
  expect(read('Write a Python function that merges two sorted lists.')).toBe('code')
  expect(read('Write a short poem about autumn.')).toBe('writing')
  expect(read('What is the capital of Australia?')).toBe('knowledge')
  expect(read('请帮我写一个快速排序')).not.toBe('writing')
})

test('a file that is not whole is refused', () => {
  const weights = Buffer.from(TASKS.weights.buffer).toString('base64')
  const good = { names: TASKS.names, bias: TASKS.bias, weights }
  expect(readTasks(JSON.stringify(good), 2)).toEqual(TASKS)
  const nan = Buffer.from(Float32Array.of(1, Number.NaN, 2, 3).buffer).toString('base64')
  for (const odd of [
    { ...good, bias: [0] },
    { ...good, names: ['Code', 'writing'] },
    { ...good, names: ['constructor', 'writing'] },
    { ...good, weights: weights.slice(0, 12) },
    { ...good, weights: nan },
    {},
  ]) {
    expect(() => readTasks(JSON.stringify(odd), 2)).toThrow(/^tasks: /)
  }
  expect(() => readTasks('{', 2)).toThrow(/^tasks: /)
})
