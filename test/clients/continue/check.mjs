import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const { BASE_URL, KEY, USER_ID } = process.env
const work = mkdtempSync(join(tmpdir(), 'continue-work-'))

/** One `cn -p` with a model of its configuration; what it says at the end. */
async function turn(model, prompt, ...more) {
  const config = {
    name: 'gateway',
    version: '1.0.0',
    schema: 'v1',
    models: [
      {
        name: model,
        provider: 'openai',
        model,
        apiBase: BASE_URL,
        apiKey: KEY,
        roles: ['chat'],
        capabilities: ['tool_use'],
        requestOptions: { headers: { 'x-user-id': USER_ID } },
      },
    ],
  }
  const file = join(work, `${model}.yaml`)
  writeFileSync(file, JSON.stringify(config))
  const cli = join(import.meta.dirname, 'node_modules/@continuedev/cli/dist/cn.js')
  const child = spawn(process.execPath, [cli, '-p', prompt, '--config', file, ...more], {
    cwd: work,
    env: { ...process.env, CONTINUE_TELEMETRY_ENABLED: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 120_000,
  })
  return await text(child.stdout)
}

assert.match(await turn('caller', 'Say hello by a command.', '--allow', 'Bash'), /The tool said: .*tool-was-here/s)
assert.match(await turn('auto', 'Say hello.'), /^\[sandbox /)
