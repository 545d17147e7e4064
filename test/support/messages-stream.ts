import { type Json, readEvents } from './responses-spec.ts'

/** The blocks that a stream of the Messages API tells. */
export function contentOf(stream: string): Json[] {
  const blocks: Json[] = []
  for (const { data } of readEvents(stream)) {
    if (data.type === 'content_block_start') blocks[data.index] = { ...data.content_block, json: '' }
    if (data.type !== 'content_block_delta') continue
    const block = blocks[data.index] as Json
    if (data.delta.text) block.text += data.delta.text
    if (data.delta.partial_json) block.json += data.delta.partial_json
  }
  return blocks.map(({ json, ...block }) => (block.type === 'tool_use' ? { ...block, input: JSON.parse(json) } : block))
}
