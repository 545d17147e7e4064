import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const { BASE_URL, KEY, USER_ID, PATH, HOME } = process.env
const copilot = join(import.meta.dirname, `node_modules/@github/copilot-${process.platform}-${process.arch}/copilot`)
const work = mkdtempSync(join(tmpdir(), 'copilot-work-'))

/** One `copilot -p` with a provider of one's own; what it says at the end. */
async function turn(provider, model, prompt, ...more) {
  const child = spawn(copilot, ['-p', prompt, '--silent', '--no-color', ...more], {
    cwd: work,
    env: {
      PATH,
      HOME,
      COPILOT_MODEL: model,
      COPILOT_OFFLINE: 'true',
      COPILOT_PROVIDER_BASE_URL: BASE_URL,
      COPILOT_PROVIDER_API_KEY: KEY,
      COPILOT_PROVIDER_HEADERS: `x-user-id: ${USER_ID}`,
      ...provider,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 120_000,
  })
  return await text(child.stdout)
}

for (const provider of [
  {},
  { COPILOT_PROVIDER_WIRE_API: 'responses' },
  { COPILOT_PROVIDER_TYPE: 'anthropic', COPILOT_PROVIDER_BASE_URL: BASE_URL.replace(/\/v1$/, '') },
]) {
  const told = await turn(provider, 'caller', 'Say hello by a command.', '--allow-all-tools')
  assert.match(told, /The tool said: .*tool-was-here/s)
  assert.match(await turn(provider, 'caller', 'And again?', '--continue'), /The tool said: .*tool-was-here/s)
  assert.match(await turn(provider, 'auto', 'Say hello.'), /^\[sandbox /)
}
