import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it, vi } from 'vitest'
import { readArtifact } from '../../../src/routing/artifact/files.ts'
import { TINY_1 } from '../support.ts'

vi.setConfig({ testTimeout: 240_000 })

const dir = mkdtempSync(join(tmpdir(), 'signed-'))
afterAll(() => rmSync(dir, { recursive: true }))
const cli = (...args: string[]) =>
  spawnSync(process.execPath, ['bin/persona-router.mjs', 'artifact', ...args], { encoding: 'utf8' })
const artifact = (name: string) => {
  cpSync(TINY_1, join(dir, name), { recursive: true })
  return join(dir, name)
}

it('an artifact that is signed by the key is taken; any other, unsigned or changed, is refused before it is read', async () => {
  expect(cli('keys', dir)).toMatchObject({ status: 0 })
  const [key, open] = ['artifact-key.pem', 'artifact-key.pub.pem'].map((name) => join(dir, name)) as [string, string]
  expect(statSync(key).mode & 0o777).toBe(0o600)
  const publicKey = readFileSync(open, 'utf8')
  expect(cli('keys', dir)).toMatchObject({ status: 1, stderr: expect.stringContaining('EEXIST') })

  const good = artifact('good')
  const refused = (directory: string) => expect(readArtifact(directory, publicKey)).rejects
  await refused(good).toMatchObject({ check: 'signed', message: expect.stringContaining('manifest.sig can’t be read') })
  expect(cli('sign', good, '--key', key)).toMatchObject({ status: 0 })
  expect((await readArtifact(good, publicKey)).manifest.version).toBe('tiny-1')
  expect((await readArtifact(good)).manifest.version).toBe('tiny-1')

  const wrong = 'signed: the signature is not of this manifest by the configured key'
  appendFileSync(join(good, 'manifest.json'), ' ')
  await refused(good).toMatchObject({ message: wrong })
  const foreign = artifact('foreign')
  cpSync(join(good, 'manifest.sig'), join(foreign, 'manifest.sig'))
  appendFileSync(join(foreign, 'score.onnx'), ' ')
  await refused(foreign).toMatchObject({ check: 'hash' })
  writeFileSync(join(foreign, 'manifest.sig'), 'nonsense')
  await refused(foreign).toMatchObject({ message: wrong })
  expect(cli('sign', foreign, '--key', open)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('not a private key'),
  })
})
