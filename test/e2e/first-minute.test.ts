import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, it, vi } from 'vitest'
import { startUpstream } from '../support/upstream.ts'

// Several starts of the gateway, on a machine that may be busy.
vi.setConfig({ testTimeout: 240_000 })

const ROOT = resolve(import.meta.dirname, '../..')
const dir = mkdtempSync(join(tmpdir(), 'first-minute-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** As `npm start` runs it: the committed configuration, nothing set, data in the working directory. */
async function start(env: Record<string, string> = {}) {
  const child = spawn(
    process.execPath,
    [join(ROOT, 'bin/persona-router.mjs'), 'serve', '-c', join(ROOT, 'config/gateway.yaml')],
    {
      cwd: dir,
      env: { PATH: process.env.PATH, HOME: dir, PORT: '0', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  let text = ''
  child.stderr.setEncoding('utf8')
  await new Promise<void>((ready, fail) => {
    child.stderr.on('data', (chunk: string) => {
      text += chunk
      if (text.includes('listening on') && text.endsWith('\n\n')) ready()
    })
    child.once('exit', () => fail(new Error(text)))
  })
  const stop = () =>
    new Promise<number | null>((done) => {
      child.removeAllListeners('exit').once('exit', done)
      child.kill('SIGTERM')
    })
  return { text, stop }
}

const keyOf = (text: string) => /tenant key: (pr-\S+)/.exec(text)?.[1]
const kept = () => existsSync(join(dir, 'data', 'first-key'))
const cli = (...args: string[]) =>
  execFileSync(
    process.execPath,
    [join(ROOT, 'bin/persona-router.mjs'), '-c', join(ROOT, 'config/gateway.yaml'), ...args],
    {
      cwd: dir,
      encoding: 'utf8',
    },
  )

it('prints an address, a key and a curl line, again until it is used; pasting it gives an answer, and the key goes on', async () => {
  const first = await start()
  expect(first.text).toContain('Set OPENAI_API_KEY')
  expect(await first.stop()).toBe(0)
  for (const file of ['first-key', 'identity-secret'])
    expect(statSync(join(dir, 'data', file)).mode & 0o777).toBe(0o600)

  const second = await start()
  expect(keyOf(second.text)).toBe(keyOf(first.text))
  const curl = second.text.slice(second.text.indexOf('curl ')).trim()
  const ask = () => JSON.parse(execFileSync('bash', ['-c', `${curl} -s`], { encoding: 'utf8' }))
  const answer = ask()
  expect(answer.choices[0].message.content).toContain('[sandbox')
  expect(answer.system_fingerprint).toBe('sandbox')
  expect(kept()).toBe(false)
  expect(ask().object).toBe('chat.completion')
  await second.stop()

  const third = await start()
  expect(keyOf(third.text)).toBeUndefined()
  await third.stop()
})

it.each(['revoke', 'replace'])('the first key is forgotten: %s', async (change) => {
  rmSync(join(dir, 'data'), { recursive: true, force: true })
  const first = await start()
  await first.stop()
  expect(kept()).toBe(true)
  const { id } = JSON.parse(cli('keys', 'list', '--json').trim()) as { id: string }
  if (change === 'revoke') cli('keys', 'revoke', id)
  else cli('keys', 'create', '--tenant', 'default')
  const second = await start()
  expect(keyOf(second.text)).toBeUndefined()
  expect(kept()).toBe(false)
  await second.stop()
})

it.each([
  ['OPENAI_API_KEY', 'gpt-5-mini'],
  ['ANTHROPIC_API_KEY', 'claude-haiku-4-5'],
  ['OPENROUTER_API_KEY', 'openrouter/llama-3.3-70b'],
  ['GEMINI_API_KEY', 'gemini-2.5-flash'],
])('%s alone turns its candidates on, and the sandbox off', async (variable, candidate) => {
  const { text, stop } = await start({ [variable]: 'sk-test' })
  const line = /candidates: (.*)/.exec(text)?.[1] ?? ''
  expect(line.split(', ')).toContain(candidate)
  expect(line).not.toContain('sandbox')
  await stop()
})

it.each(['OLLAMA_BASE_URL', 'VLLM_BASE_URL', 'LLAMACPP_BASE_URL'])(
  '%s alone makes candidates of what the server lists',
  async (variable) => {
    const upstream = await startUpstream((exchange) =>
      exchange.reply(200, { object: 'list', data: [{ id: 'qwen3:8b' }] }),
    )
    const { text, stop } = await start({ [variable]: `${upstream.origin}/v1` })
    expect(/candidates: (.*)/.exec(text)?.[1]).toMatch(/^\w+\/qwen3:8b$/)
    await stop()
    await upstream.close()
  },
)
