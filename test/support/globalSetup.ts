/**
 * Brings up what the tests need before the first one: the services, unless their addresses are given, and the built server.
 */
import { spawnSync } from "node:child_process"
import type { TestProject } from "vitest/node"
import { type RunningService, startPostgres, startRedis } from "./services.ts"

declare module "vitest" {
  export interface ProvidedContext {
    databaseUrl: string
    redisUrl: string
  }
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const running: Array<RunningService> = []
  const bring = async (name: string, given: string | undefined, start: () => Promise<RunningService>): Promise<string> => {
    if (given !== undefined) return given
    console.log(`Starting ${name} …`)
    const service = await start()
    running.push(service)
    return service.url
  }
  const stop = async () => {
    for (const service of running.splice(0)) await service.stop()
  }
  // A signal ends the process through its exit, where the services are ended too.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1))
  try {
    project.provide("databaseUrl", await bring("Postgres", process.env["TEST_DATABASE_URL"], startPostgres))
    project.provide("redisUrl", await bring("Redis", process.env["TEST_REDIS_URL"], startRedis))
    const built = spawnSync(process.execPath, [".config/build.ts", "--if-stale"], { stdio: "inherit" })
    if (built.status !== 0) throw new Error("The server could not be built.")
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}
