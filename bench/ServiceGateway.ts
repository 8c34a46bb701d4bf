/**
 * The gateway in service mode, with a Postgres and a Redis of its own.
 */
import { startPostgres, startRedis } from "../test/support/services.ts"
import { type Contestant, startGateway } from "./Contestants.ts"
import { type Cores, move } from "./Cores.ts"

/** Starts all three; they stop together. */
export const startServiceGateway = async (
  provider: string,
  options: { readonly workers: number; readonly cores: Cores; readonly databaseCores: Cores; readonly tenants?: number }
): Promise<Contestant> => {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()])
  move(postgres.pid, options.databaseCores)
  move(redis.pid, options.databaseCores)
  const gateway = await startGateway(provider, {
    cores: options.cores,
    tenants: options.tenants ?? 1,
    env: {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      KEY_ENCRYPTION_KEY: `${"A".repeat(43)}=`,
      KEY_HASH_SECRET: "the-hash-secret-of-the-load-suite-0123456789",
      WORKERS: String(options.workers)
    }
  })
  return {
    ...gateway,
    stop: async () => {
      await gateway.stop()
      await Promise.all([postgres.stop(), redis.stop()])
    }
  }
}
