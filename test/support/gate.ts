/**
 * A gate on the way to a server: what passes it is seen, and may be held back.
 */
import { connect, createServer, type Socket } from "node:net"

export interface Gate {
  /** The same address, through the gate. */
  readonly url: string
  /** From now on only what `passes` says so about goes on; what it is told of comes in the order of each connection. */
  readonly hold: (passes: (chunk: Buffer) => boolean) => void
  /** Sends on what was held. */
  readonly flush: () => void
  /** The same, and lets everything go on from now. */
  readonly release: () => void
  readonly close: () => Promise<void>
}

interface Way {
  readonly held: Array<Buffer>
  readonly near: Socket
  readonly far: Socket
}

/** A gate in front of what a URL names. */
export const startGate = async (target: string): Promise<Gate> => {
  const url = new URL(target)
  const ways = new Set<Way>()
  let passes: ((chunk: Buffer) => boolean) | null = null
  const flush = () => {
    for (const { far, held } of ways) for (const chunk of held.splice(0)) far.write(chunk)
  }
  const server = createServer((near) => {
    const far = connect(Number(url.port), url.hostname)
    const way: Way = { held: [], near, far }
    ways.add(way)
    near.on("data", (chunk) => {
      const goesOn = passes === null || passes(chunk)
      if (goesOn && way.held.length === 0) far.write(chunk)
      else way.held.push(chunk)
    })
    far.on("data", (chunk) => near.write(chunk))
    const end = () => {
      ways.delete(way)
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) socket.on("error", end).on("close", end)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the gate has no port")
  const through = new URL(target)
  through.port = String(address.port)
  return {
    url: through.toString(),
    hold: (which) => {
      passes = which
    },
    flush,
    release: () => {
      passes = null
      flush()
    },
    close: () => {
      for (const { far, near } of ways) {
        near.destroy()
        far.destroy()
      }
      return new Promise((resolve) => server.close(() => resolve()))
    }
  }
}
