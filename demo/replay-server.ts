import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Question, tokensOf } from './outcomes.ts'

/** A provider that answers every question as the LLM did when it was recorded: as long, as right or wrong, as dear. */
export async function startReplayServer(questions: readonly Question[]): Promise<{ url: string; server: Server }> {
  const known = new Map(questions.map((question) => [question.query, question]))
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { model, messages } = JSON.parse(Buffer.concat(chunks).toString())
    const question = known.get(messages.at(-1).content)
    const chars = question?.chars[model] ?? 0
    const promptTokens = tokensOf(messages.at(-1).content.length)
    const body = {
      id: `chatcmpl-${crypto.randomUUID()}`,
      object: 'chat.completion',
      created: Math.floor(Date.now() / 1000),
      model,
      choices: [{ index: 0, message: { role: 'assistant', content: '.'.repeat(chars) }, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: promptTokens,
        completion_tokens: tokensOf(chars),
        total_tokens: promptTokens + tokensOf(chars),
      },
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, server }
}
