import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, describe, expect, it, test } from 'vitest'
import { root } from '../../scripts/lib/paths.mjs'
import { importsOf } from '../../scripts/lint/imports.mjs'
import { brokenRules } from '../../scripts/lint/rules.mjs'
import { readAll } from '../../src/providers/http/read-all.ts'
import { candidate } from '../support/relay-harness.ts'

const read = (file: string) => readFileSync(join(root, file), 'utf8')
const PAGES = [
  'README.md',
  ...globSync('docs/*.md', { cwd: root }),
  ...globSync('{src,test}/**/README.md', { cwd: root }),
]

/** Paths from the root of the repository in backticks; those with placeholders stand for no file. */
const pathsOf = (text: string) =>
  [
    ...text.matchAll(
      /(?:`|\b(?:vitest|node|pytest) )((?:src|test|scripts|config|router-model|docs|demo|bin|docker)\/[\w./-]+)(?=[`\s])/g,
    ),
  ].map(([, path]) => path as string)

describe('the pages name files that are there', () => {
  it.each(PAGES.map((page) => [page]))('%s', (page) => {
    const gone = pathsOf(read(page)).filter((path) => !existsSync(join(root, path)) && !isMade(path))
    expect(gone).toEqual([])
  })

  it('also where they leave out the folder', () => {
    const there = new Set(
      globSync('{src,test,scripts,demo,bin,router-model,integrations}/**/*.{ts,mjs,py,lua}', {
        cwd: root,
        exclude: (path) => /(?:^|\/)(?:node_modules|\.venv)$/.test(path),
      }).map((path) => basename(path)),
    )
    const gone = PAGES.flatMap((page) =>
      [...read(page).matchAll(/`(?:[\w-]+\/)*([\w-]+(?:\.test)?\.(?:ts|mjs|py|lua))`/g)]
        .filter(([, name]) => !there.has(name as string))
        .map(([, name]) => `${page}: ${name}`),
    )
    expect(gone).toEqual([])
  })

  it('with the names that docs/extending.md sees in them', () => {
    const named = [...read('docs/extending.md').matchAll(/`(\w+)` in `([\w./-]+\.\w+)`/g)]
    expect(named.length).toBeGreaterThan(5)
    for (const [, name = '', file = ''] of named) expect(read(file), `${file} has ${name}`).toContain(name)
  })

  it('and docs/extending.md names many', () => {
    expect(new Set(pathsOf(read('docs/extending.md'))).size).toBeGreaterThan(30)
  })
})

/** Made by setup or by the gateway, and in no clone. */
const isMade = (path: string) => path.startsWith('router-model/.venv')

describe('the counts are those of real commits', () => {
  const counted = [...read('docs/extending.md').matchAll(/^\| (.+?) \| (\d+) \| commit ([0-9a-f]{7,40})\b(.*)\|$/gm)]
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' })
  const isHere = (commit: string) => {
    try {
      return git('cat-file', '-t', commit).trim() === 'commit'
    } catch {
      return false
    }
  }
  /** Without a repository, in a shallow clone or a history that was written anew, there is nothing to count. */
  const hasHistory = counted.some(([, , , commit = '']) => isHere(commit))

  it('at least one', () => expect(counted.length).toBeGreaterThan(0))

  for (const [, change, files, commit = '', note = ''] of counted) {
    it.skipIf(!hasHistory)(`${change}: ${files} files in ${commit}`, () => {
      const touched = git('show', '--name-only', '--format=', commit).trim().split('\n')
      // Of a commit that did more, the files that the change needed.
      const needed = pathsOf(note)
      expect(touched).toEqual(expect.arrayContaining(needed))
      expect(needed.length > 0 ? needed : touched).toHaveLength(Number(files))
    })
  }
})

describe('a kind of provider, made by the list', () => {
  const copy = mkdtempSync(join(tmpdir(), 'extending-'))
  afterAll(() => rmSync(copy, { recursive: true }))
  const edit = (file: string, from: string, to: string) => {
    const text = readFileSync(join(copy, file), 'utf8')
    expect(text, `${file} has "${from}"`).toContain(from)
    writeFileSync(join(copy, file), text.replace(from, to))
  }

  test('compiles, breaks no rule, is configured and answers, with two files and two lines of code', async () => {
    for (const path of ['src', 'config', 'package.json', 'tsconfig.json']) {
      cpSync(join(root, path), join(copy, path), { recursive: true })
    }
    if (!existsSync(join(copy, 'node_modules'))) symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    mkdirSync(join(copy, 'src/providers/kinds/echo'))
    writeFileSync(
      join(copy, 'src/providers/kinds/echo/schema.ts'),
      `import { z } from 'zod'

const schema = z.strictObject({ kind: z.literal('echo'), greeting: z.string().default('You said') })

export type EchoConfig = z.output<typeof schema>

export const echoKind = {
  schema,
  isLocal: () => true,
  builtIn: (provider: string) => [
    { name: 'echo-1', provider, groups: ['default'], explore: true, benchmarks: {} },
  ],
}
`,
    )
    writeFileSync(
      join(copy, 'src/providers/kinds/echo/echo.ts'),
      `import type { Provider } from '../../provider.ts'
import type { EchoConfig } from './schema.ts'

export const echo = (name: string, { greeting }: EchoConfig): Provider => ({
  name,
  unavailable: null,
  async chat({ request }) {
    const content = \`\${greeting}: \${JSON.stringify(request.body.messages.at(-1)?.content)}\`
    const message = { role: 'assistant', content }
    const body = { id: 'echo-1', object: 'chat.completion', choices: [{ index: 0, message, finish_reason: 'stop' }] }
    return {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: (async function* () {
        yield Buffer.from(JSON.stringify(body))
      })(),
    }
  },
  close: async () => {},
})
`,
    )
    edit('src/providers/kind-schemas.ts', '\nconst KINDS = {\n', '\nconst KINDS = {\n  echo: echoKind,\n')
    edit(
      'src/providers/kind-schemas.ts',
      'import { openai',
      "import { echoKind } from './kinds/echo/schema.ts'\nimport { openai",
    )
    edit('src/providers/kinds.ts', '  sandbox,\n}', '  sandbox,\n  echo,\n}')
    edit('src/providers/kinds.ts', 'import { openai', "import { echo } from './kinds/echo/echo.ts'\nimport { openai")

    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    writeFileSync(
      join(copy, 'tsconfig.json'),
      JSON.stringify({ ...JSON.parse(read('tsconfig.json')), include: ['src'] }),
    )
    execFileSync(process.execPath, [tsc, '--noEmit'], { cwd: copy, stdio: 'pipe' })
    const files = globSync('src/**/*.ts', { cwd: copy })
    expect(brokenRules(importsOf(copy, files), files)).toEqual([])

    const { configSchema } = await import(join(copy, 'src/config/schema.ts'))
    const { makeSnapshot } = await import(join(copy, 'src/config/snapshot.ts'))
    const { parseChat } = await import(join(copy, 'src/openai/parse-chat.ts'))
    const snapshot = await makeSnapshot(configSchema.parse({ providers: { mine: { kind: 'echo', greeting: 'Yes' } } }))
    expect(snapshot.candidates).toMatchObject([{ name: 'echo-1', provider: 'mine', price: { input: 0, output: 0 } }])
    const request = parseChat(Buffer.from('{"model":"auto","messages":[{"role":"user","content":"hi"}]}'))
    const answer = await snapshot.providers.get('mine').chat({
      ...{ candidate: candidate('echo-1', 'mine'), request, requestId: 'r', signal: new AbortController().signal },
    })
    const bytes = await readAll(answer.body, 1_000)
    expect(JSON.parse(bytes.toString()).choices[0].message.content).toBe('Yes: "hi"')
  }, 180_000)
})
