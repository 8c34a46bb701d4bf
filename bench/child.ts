/**
 * A part of the load suite as a process of its own: `child.ts provider`, `child.ts bare URL`, or `child.ts client` with loads on its standard input.
 *
 * Says where it listens, or what it measured, in one line of JSON.
 */
import { createInterface } from "node:readline"
import { startBareProxy } from "./BareProxy.ts"
import { startFastProvider } from "./FastProvider.ts"
import { load } from "./LoadClient.ts"

const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)

const [role, url = ""] = process.argv.slice(2)
if (role === "provider") say(await startFastProvider())
else if (role === "bare") say(await startBareProxy(url))
else for await (const line of createInterface({ input: process.stdin })) say(await load(JSON.parse(line)))
