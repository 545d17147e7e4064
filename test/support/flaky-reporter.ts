import type { Reporter, TestCase, TestModule } from 'vitest/node'

/**
 * A test that fails and, tried again, passes: it is told by name and why, and the run is red. The second try is there
 * to tell such a test from a broken one, not to hide it.
 */
export class FlakyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const flaky = modules.flatMap((module) =>
      [...module.children.allTests()]
        .filter((test) => test.diagnostic()?.flaky)
        .map((test) => [`${module.relativeModuleId} > ${test.fullName}`, ...whyOf(test)].join('\n        ')),
    )
    if (flaky.length === 0) return
    process.stdout.write(`${flaky.map((name) => `      Flaky  ${name}`).join('\n')}\n`)
    process.exitCode = 1
  }
}

/** First line and place of each failed try. */
const whyOf = (test: TestCase): string[] =>
  (test.result().errors ?? []).map(({ message, stacks }) => {
    const at = stacks?.[0]
    return `${message.split('\n')[0]}${at ? ` (line ${at.line})` : ''}`
  })
