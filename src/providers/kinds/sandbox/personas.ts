import type { Sum } from './arithmetic.ts'
import type { SANDBOX_CARDS } from './schema.ts'

/** What the sandbox makes of a conversation. */
export interface Question {
  /** The last user message. */
  text: string
  /** Its gist, for a sentence: "the capital of France". */
  topic: string
  keywords: string[]
  /** The result of a tool, where the last message is one. */
  tool: string | null
  sum: Sum | null
  /** User messages so far. */
  turns: number
}

/** How one of the sandbox's models writes. */
export interface Persona {
  model: keyof typeof SANDBOX_CARDS
  write(question: Question): string
}

const NOTE = 'Set a provider key, such as OPENAI_API_KEY, and a real model answers here.'

export const PERSONAS: readonly Persona[] = [
  {
    model: 'sandbox-terse',
    write: ({ topic, tool, sum }) => tool ?? (sum ? `About ${roughly(sum.value)}.` : `${capital(topic)}: noted.`),
  },
  {
    model: 'sandbox-thorough',
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
