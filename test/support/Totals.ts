/**
 * Ends every run with one plain line: `N passed, N failed`.
 */
import type { Reporter, TestModule } from "vitest/node"

export default class Totals implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>): void {
    let passed = 0
    let failed = errors.length
    for (const module of modules) {
      let failedHere = 0
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed") passed++
        if (state === "failed") failedHere++
      }
      // A file that could not be run at all has no test to show for it.
      failed += failedHere === 0 && module.state() === "failed" ? 1 : failedHere
    }
    process.on("exit", () => console.log(`${passed} passed, ${failed} failed`))
  }
}
