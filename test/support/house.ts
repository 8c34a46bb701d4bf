/**
 * An embedded server with the mock behind it, for the tests of one file.
 */
import { afterAll, beforeAll, beforeEach } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { type RunningServer, startServer, temporaryDirectory } from "./server.ts"

export interface House {
  mock: MockProvider
  server: RunningServer
}

type Env = Readonly<Record<string, string>>

/** Set up before the file's first test, taken down after its last. OpenAI, Anthropic and Google's AI Studio are the same mock, each in its own protocol; further settings may need its address. */
export const house = (env: Env | ((mockUrl: string) => Env) = {}): House => {
  const directory = temporaryDirectory()
  const state: { mock?: MockProvider; server?: RunningServer } = {}
  beforeAll(async () => {
    const mock = await startMockProvider()
    state.mock = mock
    state.server = await startServer({
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: mock.url,
      ANTHROPIC_API_KEY: "sk-anthropic",
      ANTHROPIC_BASE_URL: mock.url,
      GOOGLE_AI_STUDIO_API_KEY: "sk-google",
      GOOGLE_AI_STUDIO_BASE_URL: mock.url,
      PROVIDER_FIRST_BYTE_TIMEOUT_MS: "300",
      PROVIDER_IDLE_TIMEOUT_MS: "300",
      ...(typeof env === "function" ? env(mock.url) : env)
    })
  })
  beforeEach(() => state.mock?.reset())
  afterAll(async () => {
    await state.server?.stop()
    await state.mock?.close()
    directory.remove()
  })
  const need = <A>(value: A | undefined): A => {
    if (value === undefined) throw new Error("the house is not up")
    return value
  }
  return {
    get mock() {
      return need(state.mock)
    },
    get server() {
      return need(state.server)
    }
  }
}

/** An amount in picodollars out of a decimal string. */
export const pico = (usd: string): bigint => {
  const [whole = "0", fraction = ""] = usd.replace("-", "").split(".")
  const value = BigInt(whole) * 1_000_000_000_000n + BigInt(fraction.padEnd(12, "0"))
  return usd.startsWith("-") ? -value : value
}
