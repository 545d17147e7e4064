#!/usr/bin/env node
// Writes the table of dialects in docs/providers.md from config/models.yaml. With --check it only compares.
import { readFileSync, writeFileSync } from 'node:fs'
import { parse } from 'yaml'

const DOCS = new URL('../docs/providers.md', import.meta.url)
const MODELS = new URL('../config/models.yaml', import.meta.url)
const [BEGIN, END] = ['<!-- dialects: written by scripts/dialect-table.mjs -->', '<!-- end of dialects -->']

/** @typedef {Record<string, unknown>} Rules */

/** @param {unknown} rule */
function inWords(rule) {
  if (rule === undefined) return ''
  if (typeof rule !== 'object' || rule === null) return String(rule)
  const {
    rename,
    values,
    map,
    instead,
    min,
    max,
    pattern,
    max_items: items,
    not_with: without,
    otherwise,
  } = /** @type {Rules} */ (rule)
  // With nothing that bounds it, all that is not put otherwise is taken.
  const isBounded = [values, min, max, pattern, items, without].some((bound) => bound !== undefined)
  const words = [
    rename && `as \`${rename}\``,
    values && /** @type {unknown[]} */ (values).join(' '),
    map &&
      Object.entries(/** @type {Rules} */ (map))
        .map(([from, to]) => `${from} → ${to}`)
        .join(', '),
    instead &&
      Object.entries(/** @type {Record<string, Rules>} */ (instead))
        .map(([from, to]) => `${from} → \`${JSON.stringify(to)}\``)
        .join(', '),
    (min !== undefined || max !== undefined) && `${min ?? ''}..${max ?? ''}`,
    pattern && `each like \`${pattern}\``,
    items && `at most ${items}`,
    without && `not with ${/** @type {string[]} */ (without).join(', ')}`,
    isBounded ? otherwise && `else ${otherwise}` : (map || instead) && 'others as they are',
  ]
  return words.filter(Boolean).join('; ')
}

/** @param {Rules} rules of everything but fields */
function others(rules) {
  const { fields: _, models: __, match: ___, ...rest } = rules
  return Object.entries(rest).map(([name, value]) => {
    const text = Array.isArray(value)
      ? value.join(', ') || 'none'
      : typeof value === 'object' && value !== null
        ? Object.entries(value)
            .map(([key, inner]) => `${key} ${Array.isArray(inner) ? inner.join(' ') : inner}`)
            .join(', ')
        : String(value)
    return `${name.replaceAll('_', ' ')}: ${text}`
  })
}

/** @param {Record<string, Rules>} dialects */
export function dialectTable(dialects) {
  const names = Object.keys(dialects)
  const fieldsOf = (/** @type {Rules} */ rules) => /** @type {Rules} */ (rules.fields ?? {})
  const fields = [...new Set(names.flatMap((name) => Object.keys(fieldsOf(dialects[name] ?? {}))))].sort()
  const row = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`
  const lines = [row(['field', ...names]), row(['---', ...names.map(() => '---')])]
  for (const field of fields) {
    lines.push(row([`\`${field}\``, ...names.map((name) => inWords(fieldsOf(dialects[name] ?? {})[field]))]))
  }
  lines.push('')
  for (const name of names) {
    const rules = dialects[name] ?? {}
    lines.push(`- **${name}**: ${others(rules).join('; ')}`)
    for (const family of /** @type {Rules[]} */ (rules.models ?? [])) {
      const own = Object.entries(fieldsOf(family)).map(([field, rule]) => `\`${field}\` ${inWords(rule)}`)
      const match = /** @type {string[]} */ (family.match).map((pattern) => `\`${pattern}\``).join(', ')
      lines.push(`  - ${match}: ${[...own, ...others(family)].join('; ')}`)
    }
  }
  return lines.join('\n')
}

/** The page with its table anew. */
export function withTable() {
  const page = readFileSync(DOCS, 'utf8')
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`docs/providers.md has no place for the table (${BEGIN})`)
  const { dialects } = parse(readFileSync(MODELS, 'utf8'), { merge: true })
  return `${page.slice(0, begin)}${BEGIN}\n${dialectTable(dialects)}\n${page.slice(end)}`
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const page = withTable()
  if (!process.argv.includes('--check')) writeFileSync(DOCS, page)
  else if (page !== readFileSync(DOCS, 'utf8')) {
    console.error('docs/providers.md: run node scripts/dialect-table.mjs')
    process.exitCode = 1
  }
}
