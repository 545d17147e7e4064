import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const { BASE_URL, KEY, HOME, USER_ID } = process.env
const work = mkdtempSync(join(tmpdir(), 'codex-work-'))

/** One turn of Codex under a configuration; the items that it reports. */
async function turn(name, config, prompt, ...resume) {
  const home = join(HOME, name)
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, 'config.toml'), `approval_policy = "never"\nsandbox_mode = "danger-full-access"\n${config}`)
  const args = ['exec', '--skip-git-repo-check', '--json', '-C', work, ...resume, prompt]
  const child = spawn('node_modules/.bin/codex', args, {
    env: { ...process.env, CODEX_HOME: home, CODEX_API_KEY: KEY },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 120_000,
  })
  const stdout = await text(child.stdout)
  const events = stdout
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  const completed = events.find(({ type }) => type === 'turn.completed')
  assert.ok(completed?.usage.input_tokens > 0, stdout)
  return events.filter(({ type }) => type === 'item.completed').map(({ item }) => item)
}

// As a provider of its own, with a tool call.
const configOf = (model) => `model = "${model}"
model_provider = "gateway"

[model_providers.gateway]
name = "gateway"
base_url = "${BASE_URL}"
env_key = "KEY"
wire_api = "responses"
http_headers = { "x-user-id" = "${USER_ID}" }
`
const own = await turn('own', configOf('caller'), 'Say hello by a command.')
const command = own.find(({ type }) => type === 'command_execution')
assert.match(command?.aggregated_output ?? '', /tool-was-here/)
assert.equal(command.exit_code, 0)
assert.match(own.findLast(({ type }) => type === 'agent_message')?.text ?? '', /The tool said: .*tool-was-here/s)

// The session goes on, under another model, with the call and its output in its history.
const resumed = await turn('own', configOf('auto'), 'And again?', 'resume', '--last')
assert.match(resumed.findLast(({ type }) => type === 'agent_message')?.text ?? '', /^\[sandbox /)

// A tool of an MCP server, which it offers in a namespace: the call finds the server, its result the model.
const server = `[mcp_servers.files]\ncommand = "${process.execPath}"\nargs = ["${join(process.cwd(), 'mcp.mjs')}"]\n`
const mcp = await turn('mcp', `${configOf('caller')}\n${server}`, 'Call mcp__files__count_files.')
assert.equal(mcp.find(({ type }) => type === 'mcp_tool_call')?.status, 'completed', JSON.stringify(mcp))
assert.match(mcp.findLast(({ type }) => type === 'agent_message')?.text ?? '', /The tool said: .*mcp-was-here/s)

// In place of its built-in provider: it asks for a WebSocket first, and goes on over HTTP.
const builtIn = await turn('built-in', `model = "auto"\nopenai_base_url = "${BASE_URL}"\n`, 'Say hello.')
assert.match(builtIn.findLast(({ type }) => type === 'agent_message')?.text ?? '', /^\[sandbox /)
