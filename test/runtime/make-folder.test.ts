import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { makeFolder } from '../../src/runtime/make-folder.ts'

const dir = mkdtempSync(join(tmpdir(), 'make-folder-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('makes what is missing, of the mode that is asked for, and leaves what is there', () => {
  makeFolder(dir)
  makeFolder('/')
  makeFolder(join(dir, 'a', 'b', 'c'), 0o700)
  makeFolder(join(dir, 'a', 'b', 'c'), 0o755)
  for (const path of ['a', 'a/b', 'a/b/c']) expect(statSync(join(dir, path)).mode & 0o777).toBe(0o700)
})

test('ends where no folder can be: a file is in the way, a link leads nowhere, the file system takes none', () => {
  writeFileSync(join(dir, 'file'), '')
  symlinkSync(join(dir, 'nowhere', 'at', 'all'), join(dir, 'link'))
  for (const [path, code] of [
    [join(dir, 'file'), 'EEXIST'],
    [join(dir, 'file', 'x', 'y'), 'ENOTDIR'],
    [join(dir, 'link', 'x'), 'EEXIST'],
    ...(process.platform === 'linux' ? ([['/proc/no-such/x', 'ENOENT']] as const) : []),
  ] as const) {
    expect(() => makeFolder(path), path).toThrow(expect.objectContaining({ code }))
  }
})
