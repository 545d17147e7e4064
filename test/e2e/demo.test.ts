import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { Frontier } from '../../demo/frontier.ts'
import { loadOutcomes, tasksOf } from '../../demo/outcomes.ts'
import { seeded } from '../../demo/random.ts'
import { Mean } from '../../demo/tally.ts'
import { makeUsers, utility } from '../../demo/users.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const out = mkdtempSync(join(tmpdir(), 'persona-router-demo-out-'))
afterAll(() => rmSync(out, { recursive: true, force: true }))

const demo = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['demo/run.ts', '--out', out, ...args], { cwd: ROOT })

test('a small demo ends by itself, with tables, figures of every request and a picture', async () => {
  const { stdout } = await demo('--users', '6', '--turns', '3', '--seconds', '60')
  expect(stdout).toContain('6 simulated users')
  expect(stdout).toMatch(/personal router +-?\d\.\d{3} ± \d\.\d{3} +\$\d+\.\d\d/)
  const results = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'))
  expect(results.map(({ name }: { name: string }) => name)).toEqual([
    'personal router',
    'best single',
    'cheapest',
    'random',
  ])
  for (const { requests, reward_by_turn, regret } of results) {
    expect(requests).toBe(18)
    expect(reward_by_turn).toHaveLength(3)
    expect(regret).toBeGreaterThanOrEqual(0)
  }
  expect(stdout).toMatch(/at equal cost \(\$\d+\.\d\d for 1,000 requests\): [+-]\d\.\d{3} ± \d\.\d{3} in reward/)
  expect(stdout).toMatch(/at equal reward \(-?\d\.\d{3}\): (no fixed LLM|\d+ % (cheaper|dearer))/)
  // None ahead and no error where the router chose the fixed LLM throughout: what six users are given is no matter.
  const { reward_at_equal_cost, ahead_at_equal_cost, ahead_se } = results[0].against_fixed
  expect(ahead_at_equal_cost).toBeCloseTo(results[0].reward - reward_at_equal_cost, 9)
  expect(ahead_se).toBeGreaterThanOrEqual(0)
  // The gateway's own report comes last, against what would have answered everybody.
  expect(stdout).toMatch(/\| all \| 18 \| 0 \|[\s\S]*\| who chose \| requests \|/)
  expect(Object.keys(results[0].reasons)).not.toContain('fallback')
  expect(stdout).toMatch(
    /shadow personalized-router: scored 18 requests beside the router, would have chosen alike in \d+ %/,
  )
  expect(stdout).toMatch(/its reward less the router's: [+-]\d\.\d{3} ± \d\.\d{3}/)
  expect(stdout).toMatch(/\| personalized-router \| 18 \| \d+ % \|/)
  expect(readFileSync(join(out, 'learning-curve.svg'), 'utf8')).toMatch(
    /^<svg [^>]+>[\s\S]+<polyline [\s\S]+<\/svg>\n$/,
  )
}, 120_000)

test('an option that makes no sense is said so', async () => {
  await expect(demo('--users', 'many')).rejects.toThrow(/--users many: a whole number from 1 on/)
})

test('no LLM is best for everybody: else there would be nothing to learn', () => {
  const { llms, questions } = loadOutcomes()
  const users = makeUsers(60, llms, tasksOf(questions), seeded(1))
  const favourites = users.map((user) => {
    const worth = llms.map((llm) => questions.reduce((sum, question) => sum + utility(user, question, llm), 0))
    return worth.indexOf(Math.max(...worth))
  })
  expect(new Set(favourites).size).toBeGreaterThan(3)
})

describe('fixed LLMs to compare with', () => {
  // Cheap, middle and dear earn .2, .5 and .6; one that is dearer than the middle and earns less never counts.
  const costs = [1, 2, 4, 3]
  const rewards = [0.2, 0.5, 0.6, 0.4]
  const compare = (reward: number, cost: number) => {
    const frontier = new Frontier(['cheap', 'middle', 'dear', 'poor'])
    for (const noise of [-0.1, 0.1])
      frontier.add(
        reward,
        cost,
        rewards.map((r) => r + noise),
        costs,
      )
    return frontier.compare()
  }

  test('at a cost between two of them, a mix; the same mix at its reward', () => {
    const { mix, reward, ahead, costOfEqual } = compare(0.575, 3)
    expect(mix.llms).toEqual(['middle', 'dear'])
    expect(mix.share).toBeCloseTo(0.5, 9)
    expect(reward).toBeCloseTo(0.55, 9)
    expect(ahead.mean).toBeCloseTo(0.025, 9)
    expect(costOfEqual).toBeCloseTo(3.5, 9)
  })

  test.each([
    ['dearer than all', 0.6, 9, 'dear', 4],
    ['cheaper than all', 0.2, 0.5, 'cheap', 1],
  ])('%s: the last on that side', (_, reward, cost, name, equal) => {
    const { mix, costOfEqual } = compare(reward, cost)
    expect(mix.llms[mix.share === 1 ? 0 : 1]).toBe(name)
    expect(costOfEqual).toBeCloseTo(equal, 9)
  })

  test('better than all: no cost is equal', () => {
    expect(compare(0.7, 3).costOfEqual).toBeNull()
  })
})

test('means that are joined are those of all values together', () => {
  const [all, left, right] = [new Mean(), new Mean(), new Mean()]
  for (const value of [1, 4, 2, 8, 5]) {
    all.add(value)
    ;(value > 3 ? left : right).add(value)
  }
  left.join(right)
  expect([left.n, left.mean, left.standardError]).toEqual([5, all.mean, expect.closeTo(all.standardError, 12)])
})
