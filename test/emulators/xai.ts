import { openaiAnswer, openaiEvents } from './answers.ts'
import type { Body, Emulator, Refusal } from './emulator.ts'
import { answeredCalls, has, hasCustom, isCommon, letters, partIn } from './rules.ts'

const refuse = (error: string): Refusal => ({ status: 400, body: { code: 'invalid-argument', error } })
const unsupported = ({ model }: Body, parameter: string) =>
  refuse(`Model ${model} does not support parameter ${parameter}.`)

/** Efforts that can be set, by model; the others think as they like, or not at all. */
const EFFORTS: [RegExp, string[]][] = [
  [/^grok-3-mini/, ['low', 'high']],
  [/^grok-4\.3/, ['none', 'low', 'medium', 'high']],
  [/^grok-4\.5/, ['low', 'medium', 'high']],
  [/^grok-4\.6/, ['low', 'medium', 'high', 'xhigh']],
]

/** api.x.ai */
export const xai: Emulator = {
  name: 'xai',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    {
      source:
        'report: miaoxworld/NativeTavern#83 (4.3 to 4.6, 4.20-non-reasoning), lobehub/lobehub#13332, n8n-io/n8n#14581 (grok-3): penalties, their value aside',
      check: (body) => {
        if ('presence_penalty' in body) return unsupported(body, 'presencePenalty')
        return 'frequency_penalty' in body && unsupported(body, 'frequencyPenalty')
      },
    },
    {
      source: 'report: mnfst/modelparams.dev#330, langgenius/dify-official-plugins#3404: stop, of those that think',
      check: (body) =>
        has(body, 'stop') && !/non-reasoning|^grok-3(?!-mini)/.test(body.model) && unsupported(body, 'stop'),
    },
    {
      source:
        'report: NousResearch/hermes-agent#23435 (which models take an effort: measured), enricoros/big-AGI#1104, mnfst/modelparams.dev#330 (which values)',
      check: (body) => {
        if (!has(body, 'reasoning_effort')) return null
        const values = EFFORTS.find(([pattern]) => pattern.test(body.model))?.[1]
        if (!values) return unsupported(body, 'reasoningEffort')
        return (
          !values.includes(String(body.reasoning_effort)) &&
          refuse(`Invalid reasoning effort: ${body.reasoning_effort}`)
        )
      },
    },
    {
      source: 'inferred: parts beyond text and images, tools beyond functions',
      check: (body) => {
        if (partIn(body, 'file', 'input_audio', 'refusal')) return refuse('Unsupported content part.')
        return (hasCustom(body) || !isCommon(body)) && refuse('Unsupported tool or tool_choice.')
      },
    },
    answeredCalls('inferred', refuse),
  ],
  answer: openaiAnswer(() => `call_${letters(8)}`),
  events: openaiEvents(() => `call_${letters(8)}`),
  done: true,
}
