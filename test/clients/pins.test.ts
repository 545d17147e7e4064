import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const folders = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory())

test.each(folders.map(({ name }) => name))('%s: is pinned, has a check, and stands in the table', (name) => {
  const isNode = existsSync(join(here, name, 'package.json'))
  expect(existsSync(join(here, name, isNode ? 'check.mjs' : 'check.py'))).toBe(true)
  const pins = isNode
    ? Object.values<string>(JSON.parse(readFileSync(join(here, name, 'package.json'), 'utf8')).dependencies)
    : readFileSync(join(here, name, 'requirements.txt'), 'utf8')
        .trim()
        .split('\n')
  expect(pins.length).toBeGreaterThan(0)
  for (const pin of pins) expect(pin).toMatch(isNode ? /^\d+\.\d+\.\d+/ : /==\d/)
  expect(readFileSync(join(here, 'README.md'), 'utf8')).toContain(`\`${name}\``)
})
