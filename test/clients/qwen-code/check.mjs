import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const { BASE_URL, KEY, USER_ID, HOME } = process.env
const qwen = join(import.meta.dirname, 'node_modules/@qwen-code/qwen-code/cli.js')
const work = mkdtempSync(join(tmpdir(), 'qwen-work-'))
// biome-ignore lint/suspicious/noTemplateCurlyInString: the client fills it in
const customHeaders = { 'x-user-id': USER_ID, 'x-session-id': '${session_id}' }
const models = (baseUrl) =>
  ['caller', 'auto'].map((id) => ({ id, name: id, envKey: 'KEY', baseUrl, generationConfig: { customHeaders } }))
const modelProviders = {
  openai: models(BASE_URL),
  'openai-responses': models(BASE_URL),
  anthropic: models(BASE_URL.replace(/\/v1$/, '')),
}
const settings = { modelProviders, env: { KEY }, outboundCorrelation: { allowDynamicHeaderValues: true } }
mkdirSync(join(HOME, '.qwen'), { recursive: true })
writeFileSync(join(HOME, '.qwen/settings.json'), JSON.stringify(settings))

/** One turn of Qwen Code over an API; what it says at the end. */
async function turn(api, model, prompt, ...more) {
  const args = [qwen, '--auth-type', api, '-m', model, '-o', 'json', '-y', ...more, prompt]
  const child = spawn(process.execPath, args, { cwd: work, stdio: ['ignore', 'pipe', 'inherit'], timeout: 120_000 })
  return JSON.parse(await text(child.stdout)).at(-1).result
}

for (const api of Object.keys(modelProviders)) {
  assert.match(await turn(api, 'caller', 'Say hello by a command.'), /The tool said: .*tool-was-here/s)
  assert.match(await turn(api, 'auto', 'And again?', '--continue'), /^\[sandbox /)
}
