import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

// Its own package starts one of these, which a script of its installation would link.
const opencode = join(import.meta.dirname, `node_modules/opencode-${process.platform}-${process.arch}/bin/opencode`)
const { BASE_URL, KEY, USER_ID } = process.env
const options = { baseURL: BASE_URL, apiKey: KEY, headers: { 'x-user-id': USER_ID } }
const models = { caller: { name: 'caller', tool_call: true }, auto: { name: 'auto', tool_call: true } }

/** One `opencode run` with a provider; the events that it reports. */
async function turn(work, provider, model, prompt, ...more) {
  const config = { $schema: 'https://opencode.ai/config.json', share: 'disabled', autoupdate: false, provider }
  writeFileSync(join(work, 'opencode.json'), JSON.stringify({ ...config, permission: { bash: 'allow' } }))
  const child = spawn(opencode, ['run', '--format', 'json', '-m', model, ...more, prompt], {
    cwd: work,
    env: { ...process.env, PWD: work, OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_AUTOUPDATE: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 120_000,
  })
  const stdout = await text(child.stdout)
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

for (const [provider, name] of [
  [{ openai: { options, models } }, 'openai'],
  [{ gateway: { npm: '@ai-sdk/openai-compatible', name: 'Gateway', options, models } }, 'gateway'],
]) {
  const work = mkdtempSync(join(tmpdir(), 'opencode-work-'))
  const events = await turn(work, provider, `${name}/caller`, 'Say hello by a command.')
  const used = events.find(({ type }) => type === 'tool_use')
  assert.equal(used?.part.tool, 'bash', JSON.stringify(events))
  assert.match(used.part.state.output, /tool-was-here/)
  assert.match(events.findLast(({ type }) => type === 'text').part.text, /The tool said: .*tool-was-here/s)
  // The session goes on, under another model.
  const following = await turn(work, provider, `${name}/auto`, 'And again?', '--continue')
  assert.equal(following[0].sessionID, events[0].sessionID)
  assert.match(
    following.findLast(({ type }) => type === 'text')?.part.text ?? '',
    /^\[sandbox /,
    JSON.stringify(following),
  )
}
