import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const FAULTS = dirname(fileURLToPath(import.meta.url))
const readme = readFileSync(join(FAULTS, 'README.md'), 'utf8')
const all = readdirSync(dirname(FAULTS), { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.test.ts'),
)

/** As the tables name them: in this folder where no folder is told. */
const fileOf = (name: string) => {
  const wanted = name.startsWith('test/') ? name.slice('test/'.length) : `faults/${name}`
  return all.find((path) => path === wanted) ?? all.find((path) => path.endsWith(`/${name}`))
}

describe('the tables of faults', () => {
  const rows = readme.split('\n').filter((line) => /^\| (?!(Row|Case|What) \|)/.test(line))
  const named = rows.flatMap((row) => [...row.matchAll(/`([\w./-]+\.test\.ts)`(?: › ([^;|(`]+))?/g)])

  it('have all of the matrix’s parts', () => {
    const parts = ['Upstream', 'Client', 'Router model', 'Store', 'Process']
    expect(parts.filter((part) => !readme.includes(`\n## ${part}\n`))).toEqual([])
    expect(named.length).toBeGreaterThan(100)
  })

  it.each(named.map(([, file = '', titles = '']) => ({ file, titles: titles.trim() })))(
    '$file › $titles',
    ({ file, titles }) => {
      const path = fileOf(file)
      expect(path, file).toBeDefined()
      const source = readFileSync(join(dirname(FAULTS), path as string), 'utf8').toLowerCase()
      // Titles are told as far as is needed to find them, several after one another.
      const missing = titles
        .split(/…|,/)
        .map((part) => part.trim().toLowerCase())
        .filter((part) => !source.includes(part))
      expect(missing).toEqual([])
    },
  )
})
