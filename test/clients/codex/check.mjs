import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const { BASE_URL, HOME } = process.env
const home = join(HOME, '.codex')
mkdirSync(home, { recursive: true })
writeFileSync(
  join(home, 'config.toml'),
  `model = "caller"
model_provider = "gateway"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.gateway]
name = "gateway"
base_url = "${BASE_URL}"
env_key = "KEY"
wire_api = "responses"
http_headers = { "x-user-id" = "codex" }
`,
)
const work = mkdtempSync(join(tmpdir(), 'codex-work-'))
const args = ['exec', '--skip-git-repo-check', '--json', '-C', work, 'Say hello by a command.']
const child = spawn('node_modules/.bin/codex', args, {
  env: { ...process.env, CODEX_HOME: home },
  stdio: ['ignore', 'pipe', 'inherit'],
  timeout: 120_000,
})
const stdout = await text(child.stdout)
const events = stdout
  .trim()
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line) => JSON.parse(line))
const items = events.filter(({ type }) => type === 'item.completed').map(({ item }) => item)
const command = items.find(({ type }) => type === 'command_execution')
assert.match(command?.aggregated_output ?? '', /tool-was-here/, stdout)
assert.equal(command.exit_code, 0)
const said = items.findLast(({ type }) => type === 'agent_message')
assert.match(said?.text ?? '', /The tool said: .*tool-was-here/s, stdout)
const completed = events.find(({ type }) => type === 'turn.completed')
assert.ok(completed?.usage.input_tokens > 0, stdout)
