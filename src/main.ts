#!/usr/bin/env -S node --max-semi-space-size=16
/**
 * The `sluice` command. Nothing imports this file.
 *
 * @since 0.1.0
 */
import "../layers/OwnNode.ts"
import "../layers/EngineSetup.ts"

// After what stands above has run: which Node this is, and how it treats the program, is settled before the rest is read.
const { run } = await import("../layers/CommandLine.ts")
run()
