import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { installLlama, type LlamaServer, startLlamaServer } from '../support/llama-server.ts'
import { python } from '../support/python.ts'

const missing = await installLlama()
if (missing !== null) console.warn(`SKIPPED: outcomes gathered from a real LLM. ${missing}`)

const OUT_OF_BUDGET = 4
const AT_ONCE = 2
/** One question for each way to score an answer. */
const QUESTIONS = [
  { id: 'exact', query: 'What is the capital of France?', ground_truth: 'Paris' },
  { id: 'f1', query: 'What colour is the sky on a clear day?', metric: 'f1', ground_truth: 'blue' },
  { id: 'numeric', query: 'What is 2 + 2?', metric: 'numeric', ground_truth: '4' },
  { id: 'choice', query: 'Which of these is an animal?', choices: ['a dog', 'a stone'], ground_truth: 'A' },
  { id: 'code', query: 'Write a function f() that returns 1.', tests: ['assert f() == 1'] },
  { id: 'judge', query: 'Say something kind.' },
]
const LLMS = ['smol', 'dear']
const PERSONAS = [
  { name: 'thrifty', description: 'a student who wants the cheapest answer.' },
  { name: 'thorough', description: 'a reader who wants the longest answer.' },
]

interface Outcome {
  question: string
  llm: string
  score: number | null
  completion_tokens: number | null
  cost_usd: number
  error: string | null
}
interface Verdict {
  question: string
  persona: string
  preferred: string | null
  cost_usd: number
  error: string | null
}

describe.skipIf(missing !== null)(
  'outcomes of SmolLM2-135M, gathered through the gateway',
  { timeout: 120_000 },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'persona-router-collect-'))
    const out = join(folder, 'collected')
    let server: LlamaServer
    let gateway: RunningGateway
    let known: number
    let again: Awaited<ReturnType<typeof python>>

    const rowsOf = <T>(...path: string[]): T[] => {
      const file = join(folder, ...path)
      if (!existsSync(file)) return []
      const text = readFileSync(file, 'utf8')
      return text
        .slice(0, text.lastIndexOf('\n') + 1)
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    }
    const through = () => ['--url', gateway.baseURL, '--key', TEST_KEY, '--at-once', `${AT_ONCE}`]
    const gather = (...more: string[]) => [
      ...['-m', 'router_model', 'collect', '--queries', join(folder, 'questions.jsonl'), '--models', LLMS.join(',')],
      ...['--judge', 'smol', '--keep-replies', '--max-tokens', '16', ...through(), ...more],
    ]

    beforeAll(async () => {
      server = await startLlamaServer()
      const smol = (name: string, price: number) => ({
        ...{ name, provider: 'llama', model: 'SmolLM2-135M-Instruct.Q4_1' },
        price: { input: price, output: price },
      })
      gateway = await startGateway({
        providers: {
          llama: { kind: 'openai-compatible', base_url: `${server.origin}/v1`, key_required: false, auth: 'none' },
        },
        candidates: [smol('smol', 1), smol('dear', 100)],
      })
      writeFileSync(join(folder, 'questions.jsonl'), QUESTIONS.map((row) => `${JSON.stringify(row)}\n`).join(''))

      // Killed in the middle, and started again.
      const first = spawn(inVenv('python'), gather('--out', out), { stdio: 'ignore' })
      const ended = new Promise((resolve) => first.once('exit', resolve))
      await eventually(() => rowsOf('collected', 'journal.jsonl').length >= 3, 'three answers', 60_000)
      first.kill('SIGKILL')
      await ended
      known = rowsOf('collected', 'journal.jsonl').length
      again = await python(...gather('--out', out))
    }, 180_000)
    afterAll(async () => {
      await discard(gateway)
      await server?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    test('are scored by every metric, and go on after a kill', () => {
      expect(again, again.stderr).toMatchObject({ code: 0 })
      const outcomes = rowsOf<Outcome>('collected', 'journal.jsonl')
      expect(again.stderr).toContain(`${outcomes.length - known} answers`)
      for (const { id } of QUESTIONS) {
        for (const llm of LLMS) {
          const outcome = outcomes.findLast((row) => row.question === id && row.llm === llm)
          // So small a judge may not find the words.
          if (id === 'judge' && outcome?.score === null) expect(outcome.error).toContain('the judge gave no score')
          else expect(outcome?.score, `${id} of ${llm}`).toBeGreaterThanOrEqual(0)
          expect(outcome?.cost_usd).toBeGreaterThan(0)
        }
      }
      const pairs = outcomes.filter(({ score }) => score !== null).map(({ question, llm }) => `${question} ${llm}`)
      expect(new Set(pairs).size, 'what was answered is not asked again').toBe(pairs.length)
    })

    test('are a pool to train and evaluate on', () => {
      const rows = gunzipSync(readFileSync(join(out, 'queries.jsonl.gz')))
        .toString()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(rows.map(({ id }) => id)).toEqual(expect.arrayContaining(['exact', 'f1', 'numeric', 'choice', 'code']))
      expect(JSON.parse(readFileSync(join(out, 'llms.json'), 'utf8'))).toMatchObject([
        { name: 'smol', input_price: 1, output_price: 1 },
        { name: 'dear', input_price: 100, output_price: 100 },
      ])
    })

    test('stop at a budget', async () => {
      const budget = 0.004
      const { code, stderr } = await python(...gather('--out', join(folder, 'short'), '--budget-usd', `${budget}`))
      expect(code, stderr).toBe(OUT_OF_BUDGET)
      const outcomes = rowsOf<Outcome>('short', 'journal.jsonl')
      const spent = outcomes.reduce((sum, { cost_usd }) => sum + cost_usd, 0)
      const dearest = Math.max(...outcomes.map(({ cost_usd }) => cost_usd))
      expect(outcomes.length).toBeLessThan(QUESTIONS.length * LLMS.length)
      expect(spent).toBeLessThan(budget + AT_ONCE * dearest)
    })

    test('are judged by personas whom the LLM plays', async () => {
      const played = join(folder, 'personas.json')
      writeFileSync(played, JSON.stringify(PERSONAS))
      const { code, stderr } = await python(
        ...['-m', 'router_model', 'judge-personas', out, '--judge', 'smol', '--personas', played, ...through()],
        ...['--out', join(folder, 'personas'), '--max-tokens', '4', '--max-chars', '40', '--users', '4'],
        ...['--requests', '5'],
      )
      expect(code, stderr).toBe(0)
      const verdicts = rowsOf<Verdict>('personas', 'verdicts.jsonl')
      expect(verdicts.length).toBeGreaterThanOrEqual(PERSONAS.length * (QUESTIONS.length - 1))
      for (const { preferred, cost_usd, error } of verdicts) {
        if (preferred === null) expect(error).toContain('the judge named no answer')
        else expect(LLMS).toContain(preferred)
        expect(cost_usd).toBeGreaterThan(0)
      }
      expect(verdicts.some(({ preferred }) => preferred !== null)).toBe(true)
      const log = gunzipSync(readFileSync(join(folder, 'personas', 'log.jsonl.gz'))).toString()
      expect(log.match(/"type":"interaction"/g)).toHaveLength(20)
      expect(log).toContain('"kind":"preference"')
    })
  },
)
