import { expect, test } from 'vitest'
import { plainServe } from '../../src/cli/plain-serve.ts'
import { createProgram } from '../../src/cli/program.ts'

/** What the whole command line serves by the same words; null where it does something else. */
async function served(args: readonly string[]): Promise<string | null> {
  let file: string | null = null
  const program = createProgram(async (configPath) => {
    file = configPath
  })
  program.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} })
  for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} })
  await program.parseAsync([...args], { from: 'user' }).catch(() => null)
  return file
}

test.each([[['serve']], [['serve', '-c', 'a.yaml']], [['serve', '--config', 'b c.yaml']], [['-c', 'a.yaml', 'serve']]])(
  '%j serves the same file as the whole command line',
  async (args) => {
    expect(plainServe(args)).not.toBeNull()
    expect(plainServe(args)).toBe(await served(args))
  },
)

test('a variable names the file, where no option does', () => {
  expect(plainServe(['serve'], { PERSONA_ROUTER_CONFIG: 'c.yaml' })).toBe('c.yaml')
  expect(plainServe(['serve', '-c', 'a.yaml'], { PERSONA_ROUTER_CONFIG: 'c.yaml' })).toBe('a.yaml')
})

test.each([
  [[]],
  [['config', 'check']],
  [['serve', '--help']],
  [['serve', '-c']],
  [['serve', '-c', '']],
  [['serve', '-c', '-x']],
  [['-c', 'serve']],
  [['serve', 'x']],
  [['serve', '-c', 'a', 'x']],
  [['-c', 'a.yaml', 'serve', 'x']],
])('%j is left to the whole command line', (args) => expect(plainServe(args)).toBeNull())
