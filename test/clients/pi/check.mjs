import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const { BASE_URL, KEY, USER_ID, HOME } = process.env
const pi = join(import.meta.dirname, 'node_modules/@mariozechner/pi-coding-agent/dist/cli.js')
const work = mkdtempSync(join(tmpdir(), 'pi-work-'))

const provider = (api, baseUrl) => ({
  baseUrl,
  api,
  apiKey: KEY,
  headers: { 'x-user-id': USER_ID },
  models: [{ id: 'caller' }, { id: 'auto', reasoning: true }],
})
const providers = {
  chat: provider('openai-completions', BASE_URL),
  responses: provider('openai-responses', BASE_URL),
  messages: provider('anthropic-messages', BASE_URL.replace(/\/v1$/, '')),
}
mkdirSync(join(HOME, '.pi/agent'), { recursive: true })
writeFileSync(join(HOME, '.pi/agent/models.json'), JSON.stringify({ providers }))

/** One `pi -p`; what it says at the end. */
async function turn(provider, model, prompt, ...more) {
  const args = [pi, '-p', '--offline', '--provider', provider, '--model', model, ...more, prompt]
  const child = spawn(process.execPath, args, { cwd: work, stdio: ['ignore', 'pipe', 'inherit'], timeout: 120_000 })
  return await text(child.stdout)
}

for (const name of Object.keys(providers)) {
  assert.match(
    await turn(name, 'caller', 'Say hello by a command.', '--tools', 'bash'),
    /The tool said: .*tool-was-here/s,
  )
  assert.match(await turn(name, 'auto', 'And again?', '--continue'), /^\[sandbox /)
}
