import { generateText, type LanguageModel, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'

/** A tool that notes what it was asked. */
function weather() {
  const asked: string[] = []
  return {
    asked,
    get_weather: tool({
      description: 'The weather of a city',
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        asked.push(city)
        return `17 degrees in ${city}`
      },
    }),
  }
}

/** The sandbox calls tools only where it must. */
const options = (model: LanguageModel, { get_weather }: ReturnType<typeof weather>) => ({
  model,
  prompt: 'What is the weather in Lisbon?',
  tools: { get_weather },
  prepareStep: ({ stepNumber }: { stepNumber: number }) => ({
    toolChoice: stepNumber === 0 ? ('required' as const) : ('auto' as const),
  }),
  stopWhen: stepCountIs(4),
})

/** A tool loop of the AI SDK: its last words, what the tool was asked, and who answered each step. */
export async function toolLoop(model: LanguageModel) {
  const used = weather()
  const { text, steps } = await generateText(options(model, used))
  return { text, asked: used.asked, models: steps.map(({ response }) => response.modelId) }
}

/** The same, streamed. */
export async function streamedToolLoop(model: LanguageModel) {
  const used = weather()
  const result = streamText(options(model, used))
  return {
    text: await result.text,
    asked: used.asked,
    models: (await result.steps).map(({ response }) => response.modelId),
  }
}
