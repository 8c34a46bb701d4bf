/**
 * Where webhooks may go, and the way out itself against real sockets.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { IpNetwork } from "effect/net"
import * as UndiciWebhookSender from "../../layers/UndiciWebhookSender.ts"
import { type WebhookReply, WebhookSender } from "../../src/events/WebhookSender.ts"
import * as WebhookTarget from "../../src/events/WebhookTarget.ts"
import { type Receiver, startReceiver, verify } from "../support/receiver.ts"

const networks = (...texts: ReadonlyArray<string>) => texts.map((text) => IpNetwork.fromStringUnsafe(text))
const loopback = networks("127.0.0.0/8")

describe("where webhooks may go", () => {
  it("only to addresses of the public internet, however they are written", () => {
    const inside = [
      "0.0.0.0",
      "10.1.2.3",
      "100.64.0.1",
      "100.127.255.255",
      "127.0.0.1",
      "127.255.255.254",
      "169.254.169.254",
      "172.16.0.1",
      "172.31.255.255",
      "192.0.0.1",
      "192.168.0.1",
      "198.18.0.1",
      "224.0.0.1",
      "255.255.255.255",
      "::",
      "::1",
      "::ffff:127.0.0.1",
      "::ffff:10.0.0.1",
      "::127.0.0.1",
      "64:ff9b::7f00:1",
      "fc00::1",
      "fd00:ec2::254",
      "fe80::1",
      "ff02::1",
      "2001::1",
      "2001:db8::1",
      "2002:7f00:1::",
      "100::1",
      "not an address",
      ""
    ]
    for (const address of inside) assert.isFalse(WebhookTarget.isPublic(address), address)
    const outside = ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]
    for (const address of outside) assert.isTrue(WebhookTarget.isPublic(address), address)
  })

  it("by https, and to named networks by http too; what is named opens nothing else", () => {
    const allowed = networks("10.0.0.0/8", "fd00::/8")
    assert.isTrue(WebhookTarget.mayConnect("https:", "1.1.1.1", allowed))
    assert.isFalse(WebhookTarget.mayConnect("http:", "1.1.1.1", allowed))
    assert.isTrue(WebhookTarget.mayConnect("http:", "10.9.9.9", allowed))
    assert.isTrue(WebhookTarget.mayConnect("https:", "::ffff:10.0.0.1", allowed))
    assert.isTrue(WebhookTarget.mayConnect("http:", "fd00::1", allowed))
    assert.isFalse(WebhookTarget.mayConnect("https:", "192.168.0.1", allowed))
    assert.isFalse(WebhookTarget.mayConnect("https:", "127.0.0.1", []))
  })

  it("one inside address among several is one too many", () => {
    const url = new URL("https://example.com/")
    assert.isNull(WebhookTarget.judge(url, ["1.1.1.1", "2606:4700::1111"], []))
    assert.isNotNull(WebhookTarget.judge(url, ["1.1.1.1", "10.0.0.1"], []))
    assert.isNotNull(WebhookTarget.judge(new URL("http://example.com/"), ["1.1.1.1"], loopback))
  })
})

describe("the way out", () => {
  let receiver: Receiver
  beforeAll(async () => {
    receiver = await startReceiver()
  })
  afterAll(() => receiver?.close())

  const secret = `whsec_${Buffer.alloc(32, 5).toString("base64")}`
  const send = (url: string, allowed: WebhookTarget.AllowedNetworks, body = "{}"): Promise<WebhookReply> =>
    Effect.flatMap(WebhookSender, (sender) =>
      sender.send({ url: new URL(url), id: "evt_1", timestamp: Math.floor(Date.now() / 1_000), body, secrets: [Redacted.make(secret)] })
    ).pipe(Effect.provide(UndiciWebhookSender.layer({ allowed, timeoutMs: 400 })), Effect.runPromise)
  const at = (path: string) => receiver.received.filter((each) => each.path === path)

  it("sends what is signed, to an address or to a name of a named network", async () => {
    for (const host of ["127.0.0.1", "localhost", "hook.localhost"]) {
      const path = `/named-${host}?a=b`
      assert.deepStrictEqual(await send(`http://${host}:${receiver.port}${path}`, loopback, '{"é":"\\u2713 ✓"}'), { status: 200 })
      const [message] = at(path)
      if (message === undefined) throw new Error("nothing came")
      assert.isDefined(verify(secret, message))
    }
  })

  it("connects to no address that was not judged: a name that leads inside sends nothing", async () => {
    const refused = { failure: "The URL leads to an address that is not of the public internet." }
    for (const host of ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]) {
      for (const allowed of [[], networks("10.0.0.0/8")]) {
        assert.deepStrictEqual(await send(`http://${host}:${receiver.port}/inside`, allowed), refused, host)
        assert.deepStrictEqual(await send(`https://${host}:${receiver.port}/inside`, allowed), refused, host)
      }
    }
    assert.deepStrictEqual(at("/inside"), [])
  })

  it("follows no redirect", async () => {
    receiver.answer("/moved", { redirect: `${receiver.url}/trap` })
    assert.deepStrictEqual(await send(`${receiver.url}/moved`, loopback), { status: 302 })
    assert.deepStrictEqual(at("/trap"), [])
  })

  it("waits for no more than its time, and reads no endless answer", async () => {
    receiver.answer("/silent", "hang")
    assert.deepStrictEqual(await send(`${receiver.url}/silent`, loopback), { failure: "There was no answer in time." })
    receiver.answer("/closing", "close")
    assert.deepStrictEqual(await send(`${receiver.url}/closing`, loopback), { failure: "The connection was closed." })
    let written = 0
    const ended = new Promise<void>((resolve) => {
      receiver.answer("/endless", (response) => {
        response.writeHead(200)
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536))) written++
        }
        response.on("drain", more)
        response.on("close", resolve)
        more()
      })
    })
    assert.deepStrictEqual(await send(`${receiver.url}/endless`, loopback), { status: 200 })
    await ended
    assert.isBelow(written, 1_000)
    receiver.answer("/headers", (response) => response.writeHead(200, { big: "x".repeat(15_000), bigger: "y".repeat(15_000) }).end())
    assert.deepStrictEqual(await send(`${receiver.url}/headers`, loopback), { failure: "The answer's headers are too large." })
  })

  it("says in words why nothing could be sent", async () => {
    assert.deepStrictEqual(await send("http://127.0.0.1:1/", loopback), { failure: "The connection was refused." })
    const plain = await send(`https://127.0.0.1:${receiver.port}/`, loopback)
    assert.match("failure" in plain ? plain.failure : "", /^The TLS certificate was not accepted \(ERR_SSL_/)
    assert.deepStrictEqual(await send("https://nobody.invalid/", []), { failure: "The host's name is not known." })
  })
})
