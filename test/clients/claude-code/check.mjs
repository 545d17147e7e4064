import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const claude = join(import.meta.dirname, 'node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs')
const { BASE_URL, KEY, USER_ID, PATH, HOME } = process.env
const cwd = mkdtempSync(join(tmpdir(), 'claude-code-work-'))

/** One `claude -p` with nothing of the environment but what its documentation names for a gateway. */
async function turn(model, prompt, ...more) {
  const args = ['-p', prompt, '--output-format', 'stream-json', '--verbose', ...more]
  const child = spawn(process.execPath, [claude, ...args], {
    cwd,
    env: {
      PATH,
      HOME,
      ANTHROPIC_BASE_URL: BASE_URL.replace(/\/v1$/, ''),
      ANTHROPIC_AUTH_TOKEN: KEY,
      ANTHROPIC_CUSTOM_HEADERS: `x-user-id: ${USER_ID}`,
      ...(model && { ANTHROPIC_MODEL: model }),
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 120_000,
  })
  const stdout = await text(child.stdout)
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

// Its own model name, by an alias.
const plain = (await turn(null, 'Say hello.')).at(-1)
assert.equal(plain.subtype, 'success', JSON.stringify(plain))
assert.match(plain.result, /^\[sandbox /)
assert.ok(plain.usage.output_tokens > 0)

// A tool call: it runs the command and tells what came of it.
const events = await turn('caller', 'Say hello by a command.', '--allowedTools', 'Bash')
const results = events.filter(({ type }) => type === 'user').flatMap(({ message }) => message.content)
assert.match(JSON.stringify(results), /tool-was-here/, JSON.stringify(events.slice(-3)))
assert.match(events.at(-1).result, /The tool said: .*tool-was-here/s)

// The same session goes on, under another model.
const following = (await turn('auto', 'And again?', '--continue')).at(-1)
assert.equal(following.session_id, events.at(-1).session_id)
assert.match(following.result, /^\[sandbox /)
