import { createInterface } from 'node:readline'

/** A server of one tool in the Model Context Protocol, over its standard input and output. */
const tool = {
  name: 'count_files',
  description: 'Counts files.',
  inputSchema: { type: 'object', properties: { where: { type: 'string' } }, required: ['where'] },
  annotations: { readOnlyHint: true },
}

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  if (id === undefined) return
  const results = {
    initialize: () => ({
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 'files', version: '1' },
    }),
    'tools/list': () => ({ tools: [tool] }),
    'tools/call': () => ({ content: [{ type: 'text', text: `mcp-was-here: ${JSON.stringify(params.arguments)}` }] }),
  }
  send({ id, result: results[method]?.() ?? {} })
})
