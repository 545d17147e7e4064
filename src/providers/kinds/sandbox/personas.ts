import type { CandidateConfig } from '../../../config/schema.ts'
import type { Question } from './answer.ts'

/** One of the sandbox's models: what it costs, what it is good at, how it writes. */
export interface Persona {
  model: string
  card: Omit<CandidateConfig, 'name' | 'provider' | 'model'>
  write(question: Question): string
}

const common = {
  vendor: 'sandbox',
  context_window: 128_000,
  capabilities: ['tools', 'vision', 'json_schema'] as ('tools' | 'vision' | 'json_schema')[],
  groups: ['default', 'sandbox'],
  explore: true,
}

const NOTE = 'Set a provider key, such as OPENAI_API_KEY, and a real model answers here.'

export const PERSONAS: readonly Persona[] = [
  {
    model: 'sandbox-terse',
    card: {
      ...common,
      description: 'Built-in test model: very cheap, very short answers.',
      price: { input: 0.05, output: 0.2 },
      size_b: 3,
      benchmarks: { mmlu: 0.6 },
    },
    write: ({ topic, tool, sum }) => tool ?? (sum ? `About ${roughly(sum.value)}.` : `${capital(topic)}: noted.`),
  },
  {
    model: 'sandbox-thorough',
    card: {
      ...common,
      description: 'Built-in test model: mid price, long and structured answers.',
      price: { input: 0.5, output: 2 },
      size_b: 70,
      benchmarks: { mmlu: 0.8 },
    },
    write: ({ text, topic, keywords, tool, sum, turns }) =>
      [
        `Here is a full answer about ${topic}.`,
        ...(tool === null ? [] : ['', `What the tool found: ${tool}`]),
        ...(sum === null ? [] : ['', `The calculation, step by step: ${sum.expression} = ${sum.value}.`]),
        '',
        'What I took from your message:',
        `- It has ${words(text)} words, and this is turn ${turns} of our conversation.`,
        ...keywords.map((word) => `- You mention "${word}".`),
        '',
        `In conclusion: this text shows how a thorough model's answer looks. ${NOTE}`,
      ].join('\n'),
  },
  {
    model: 'sandbox-premium',
    card: {
      ...common,
      description: 'Built-in test model: dear and strong, balanced answers, careful with numbers.',
      price: { input: 3, output: 15 },
      size_b: 400,
      reasoning: true,
      benchmarks: { mmlu: 0.9 },
    },
    write: ({ topic, keywords, tool, sum }) =>
      [
        tool ?? (sum ? `${sum.expression} = ${sum.value}.` : `You ask about ${topic}.`),
        keywords.length > 0 ? `What matters here: ${keywords.join(', ')}.` : '',
        NOTE,
      ]
        .filter(Boolean)
        .join(' '),
  },
  {
    model: 'sandbox-coder',
    card: {
      ...common,
      description: 'Built-in test model: cheap, made for programming; answers with code.',
      price: { input: 0.3, output: 1.2 },
      size_b: 32,
      benchmarks: { mmlu: 0.7, humaneval: 0.9 },
    },
    write: ({ topic, keywords, tool, sum }) =>
      [
        `Here is a start for ${topic}:`,
        '',
        '```python',
        `def ${identifier(keywords)}():`,
        `    return ${sum ? sum.expression : JSON.stringify(tool ?? topic)}`,
        '```',
      ].join('\n'),
  },
]

const words = (text: string) => text.split(/\s+/).filter(Boolean).length
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
const identifier = (keywords: readonly string[]) =>
  keywords
    .map((word) => word.toLowerCase().replace(/[^a-z0-9]/g, ''))
    .filter(Boolean)
    .slice(0, 3)
    .join('_')
    .replace(/^(?=\d|$)/, 'answer')

/** One significant digit: a weak model's idea of a number. */
const roughly = (value: number) => Number(value.toPrecision(1))
