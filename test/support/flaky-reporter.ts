import type { Reporter, TestModule } from 'vitest/node'

/**
 * A test that fails and, tried again, passes: it is told by name, and the run is red. The second try is there to tell
 * such a test from a broken one, not to hide it.
 */
export class FlakyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const flaky = modules.flatMap((module) =>
      [...module.children.allTests()]
        .filter((test) => test.diagnostic()?.flaky)
        .map((test) => `${module.relativeModuleId} > ${test.fullName}`),
    )
    if (flaky.length === 0) return
    process.stdout.write(`${flaky.map((name) => `      Flaky  ${name}`).join('\n')}\n`)
    process.exitCode = 1
  }
}
