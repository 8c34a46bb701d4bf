/**
 * A worker's HTTP server: it has the connections that the keeper of its port hands it.
 *
 * @since 0.1.0
 */
import { Socket } from "node:net"
import { type CreateServer, GivenServer } from "./GivenServer.ts"
import * as WorkerLink from "./WorkerLink.ts"
import { toWorker } from "./WorkerMessages.ts"

/** The server that connections are for; there is at most one at a time. */
let current: HandedServer | null = null

const hear = (message: unknown, handle: unknown): void => {
  const told = toWorker(message)
  if (told?._tag === "Listening") current?.begin(told.address)
  if (told?._tag !== "Connection") return
  const isTaken = current !== null
  if (handle instanceof Socket) {
    // What was not read yet is for who has it next.
    if (current === null) handle.destroy()
    else current.admit(handle)
  }
  WorkerLink.tell({ _tag: "Answered", id: told.id, isTaken })
}

let isHearing = false

class HandedServer extends GivenServer {
  protected override ask(): void {
    if (!isHearing) process.on("message", hear)
    isHearing = true
    current = this
    WorkerLink.tell({ _tag: "Taking" })
  }

  protected override leave(): void {
    if (current !== this) return
    current = null
    WorkerLink.tell({ _tag: "Leaving" })
  }

  override admit(socket: Socket): void {
    socket.allowHalfOpen = true
    socket.setNoDelay(true)
    super.admit(socket)
  }
}

/** @category constructors @since 0.1.0 */
export const make: CreateServer = (options) => new HandedServer(options)
