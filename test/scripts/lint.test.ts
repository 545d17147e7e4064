import { describe, expect, it } from 'vitest'
import { findCycles, findImports } from '../../scripts/lint/imports.mjs'
import { brokenRules, kindsByName } from '../../scripts/lint/rules.mjs'
import { textProblems } from '../../scripts/lint/text.mjs'

/** The problems of a tree with one made-up import. */
const imports = (from: string, to: string) => brokenRules([{ from, to }], [from])

describe('imports', () => {
  it('are found in every form, types included', () => {
    const text = `
      import { a } from './a.ts'
      import type { B } from '../b.ts'
      export * from './c.ts'
      export type { D } from './d.ts'
      export interface E { e: import('../f/e.ts').E }
      const g = await import('./g.ts')
      import Redis from 'ioredis'
      import './a.ts'
      // import { z } from './z.ts'
    `
    expect(findImports('src/x/file.ts', text)).toEqual(
      ['src/x/a.ts', 'src/b.ts', 'src/x/c.ts', 'src/x/d.ts', 'src/f/e.ts', 'src/x/g.ts', 'ioredis']
        .map((to) => ({ from: 'src/x/file.ts', to }))
        .sort((one, other) => order(text, one.to) - order(text, other.to)),
    )
  })

  it('go down, or stay in their layer', () => {
    expect(imports('src/pipeline/chat.ts', 'src/providers/forward/forward.ts')).toEqual([])
    expect(imports('src/learning/learner.ts', 'src/routing/policy.ts')).toEqual([])
    expect(imports('src/providers/kinds/openai-compatible/schema.ts', 'src/errors.ts')).toEqual([])
    expect(imports('src/main.ts', 'src/services.ts')).toEqual([])
    expect(imports('src/store/redis/store.ts', 'ioredis')).toEqual([])
  })

  it.each([
    ['src/pipeline/chat.ts', 'src/api/models.ts'],
    ['src/pipeline/chat.ts', 'src/services.ts'],
    ['src/providers/discover.ts', 'src/config/snapshot.ts'],
    ['src/candidates/names.ts', 'src/providers/provider.ts'],
    ['src/config/schema.ts', 'src/openai/chat.ts'],
    ['src/errors.ts', 'src/observability/logger.ts'],
  ])('%s -> %s is upward', (from, to) => {
    expect(imports(from, to)).toEqual([`${from} -> ${to}: upward`])
  })

  it.each([
    [
      'src/providers/forward/forward.ts',
      'src/providers/kinds/sandbox/sandbox.ts',
      /only its own folder and the registry/,
    ],
    ['src/providers/kinds/anthropic/anthropic.ts', 'src/providers/kinds/sandbox/answer.ts', /only its own folder/],
    ['src/pipeline/idempotency.ts', 'ioredis', /only store\/redis\//],
    ['src/store/sqlite/store.ts', 'ioredis', /only store\/redis\//],
    ['src/store/recorder/recorder.ts', 'node:sqlite', /only store\/sqlite\//],
    ['src/services.ts', 'src/store/redis/keys.ts', /only store\/index/],
    ['src/runtime/watch.ts', 'src/errors.ts', /runtime\/ knows nothing/],
  ])('%s -> %s is reserved', (from, to, problem) => {
    expect(imports(from, to)).toEqual([expect.stringMatching(problem)])
  })

  it('of a kind are not made up for by its name', () => {
    const asks = (file: string, text: string) => kindsByName(file, text, ['sandbox', 'anthropic']).length
    expect(asks('src/config/load.ts', "if (entry.kind === 'sandbox') return")).toBe(1)
    expect(asks('src/config/load.ts', "a && entry?.kind !== 'anthropic'")).toBe(1)
    expect(asks('src/providers/kinds/sandbox/sandbox.ts', "kind === 'sandbox'")).toBe(0)
    expect(asks('src/config/load.ts', "store.kind === 'redis'")).toBe(0)
  })

  it('make no cycle', () => {
    const edges = [
      ['src/store/a.ts', 'src/store/b.ts'],
      ['src/store/b.ts', 'src/store/c.ts'],
      ['src/store/c.ts', 'src/store/a.ts'],
      ['src/store/c.ts', 'src/store/d.ts'],
    ].map(([from, to]) => ({ from: from as string, to: to as string }))
    expect(findCycles(edges)).toEqual([['src/store/a.ts', 'src/store/b.ts', 'src/store/c.ts']])
    expect(brokenRules(edges, [])).toEqual([
      'src/store/a.ts -> src/store/b.ts -> src/store/c.ts -> src/store/a.ts: a cycle',
    ])
  })

  it('leave few files at the root, and none without a layer', () => {
    const files = ['src/main.ts', 'src/parts.ts', 'src/attic/old.ts', 'src/store/redis/batch.lua']
    expect(brokenRules([], files)).toEqual([
      'src/parts.ts: not a file for the root of src/',
      expect.stringMatching(/^src\/attic\/old\.ts: in no layer/),
    ])
  })
})

describe('text', () => {
  const wide = 'x'.repeat(120)

  it.each([
    ['a.ts', `// ${wide}`],
    ['a.ts', `/**\n * ${wide}\n */`],
    ['a.mjs', `const a = 1 // ${wide}`],
    ['a.lua', `local a = 1 -- ${wide}`],
    ['a.py', `"""Doc.\n\n${wide}x\n"""`],
    ['a.py', `# ${wide}`],
    ['a.yaml', `a: 1 # ${wide}`],
  ])('a comment of %s ends at column 120', (file, text) => {
    expect(textProblems(file, text)).toEqual([expect.stringContaining('wider than 120 columns')])
    expect(textProblems(file, text.replace(wide, 'x'))).toEqual([])
  })

  it('code may be wider, and so may what a formatter is told', () => {
    expect(textProblems('a.ts', `const a = '// ${wide}'`)).toEqual([])
    expect(textProblems('a.ts', `const a = '${wide}' // biome-ignore format: bytes`)).toEqual([])
    expect(textProblems('a.py', `a = "${wide}"`)).toEqual([])
    expect(textProblems('a.md', `# ${wide}`)).toEqual([])
  })

  it('people are "they"', () => {
    expect(textProblems('a.md', 'The operator and h\u0069s keys')).toEqual([expect.stringMatching(/^a\.md:1: "h\w+"/)])
    expect(textProblems('a.ts', '// when H\u0065 asks')).toHaveLength(1)
    expect(textProblems('a.ts', 'The other, this, the help')).toEqual([])
  })
})

const order = (text: string, path: string) => text.indexOf(path.split('/').at(-1) as string)
