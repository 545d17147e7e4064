import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

/** A question with what every LLM made of it. */
export interface Question {
  query: string
  task: string
  /** LLM -> 0 or 1. */
  scores: Record<string, number>
  /** LLM -> characters of its reply. */
  chars: Record<string, number>
}

export interface Llm {
  name: string
  vendor: string
  description: string
  /** Dollars per million tokens. */
  price: { input: number; output: number }
}

const POOL = new URL('../router-model/data/zeroeval/', import.meta.url)
/** Kept out of training: the router has not seen these questions. */
const TEST_FOLD = 8
const CHARS_PER_TOKEN = 4

/** Dear and cheap, strong and weak, terse and wordy, from six vendors. */
const CANDIDATES = [
  'gpt-4o-2024-08-06',
  'gpt-4o-mini-2024-07-18',
  'claude-3-5-sonnet-20241022',
  'claude-3-5-haiku-20241022',
  'claude-3-haiku-20240307',
  'Llama-3.1-405B-Instruct',
  'Meta-Llama-3.1-8B-Instruct',
  'Mistral-Large-2',
  'Qwen2-72B-Instruct',
  'gemma-2-2b-it',
]

/** Recorded outcomes of ZeroEval (Apache-2.0; `router-model/data/NOTICE.md`). */
export function loadOutcomes(): { llms: Llm[]; questions: Question[] } {
  const read = (file: string) => readFileSync(new URL(file, POOL))
  const listed = JSON.parse(read('llms.json').toString()) as {
    name: string
    provider: string
    description: string
    input_price: number
    output_price: number
  }[]
  const llms = listed
    .filter(({ name }) => CANDIDATES.includes(name))
    .map(({ name, provider, description, input_price, output_price }) => ({
      name,
      vendor: provider.toLowerCase(),
      description,
      price: { input: input_price, output: output_price },
    }))
  const questions = gunzipSync(read('queries.jsonl.gz'))
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ fold }) => fold === TEST_FOLD)
    .map(({ query, task, scores, completion_chars }): Question => ({ query, task, scores, chars: completion_chars }))
  return { llms, questions }
}

export const tasksOf = (questions: readonly Question[]) => [...new Set(questions.map(({ task }) => task))]

export const tokensOf = (chars: number) => Math.ceil(chars / CHARS_PER_TOKEN)

export function costOf({ query, chars }: Question, { name, price }: Llm): number {
  return (tokensOf(query.length) * price.input + tokensOf(chars[name] ?? 0) * price.output) / 1e6
}
