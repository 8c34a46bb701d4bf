/**
 * The mock provider in a process of its own: prints `{"port":…}` and runs until it is stopped. `PORT` picks the port.
 */
import { startMockProvider } from "./MockProvider.ts"

const mock = await startMockProvider({ port: Number(process.env["PORT"] ?? 0) })
console.log(JSON.stringify({ port: mock.port, url: mock.url }))
