import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const folder = new URL('../../src/pipeline/', import.meta.url)

test('the road lists every file of its folder, and files that exist', () => {
  const road = readFileSync(new URL('README.md', folder), 'utf8')
  const listed = [...road.matchAll(/`([\w./-]+(?:\.ts|\/))`/g)].map(([, path]) => path as string)
  expect(listed.filter((path) => !existsSync(new URL(path, folder)))).toEqual([])
  expect(readdirSync(folder).filter((name) => name.endsWith('.ts') && !listed.includes(name))).toEqual([])
})
