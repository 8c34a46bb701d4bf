/**
 * An OpenID Connect issuer: its discovery document, its keys, and tokens signed by them.
 */
import { createServer } from "node:http"
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose"

export interface Issuer {
  readonly url: string
  /** How often each path was asked for. */
  readonly asked: (path: string) => number
  readonly sign: (
    claims: JWTPayload,
    more?: { readonly kid?: string; readonly expiresIn?: string; readonly issuer?: string }
  ) => Promise<string>
  /** Signs with a key that nobody publishes. */
  readonly forge: (claims: JWTPayload) => Promise<string>
  /** From now on there is another key; the old one is gone. */
  readonly rotate: () => Promise<void>
  readonly close: () => Promise<void>
}

export const startIssuer = async (audience: string): Promise<Issuer> => {
  const counts = new Map<string, number>()
  let number = 0
  const newKey = async () => ({ kid: `key-${++number}`, ...(await generateKeyPair("RS256", { extractable: true })) })
  let current = await newKey()
  let url = ""
  const server = createServer((request, response) => {
    const path = request.url ?? ""
    counts.set(path, (counts.get(path) ?? 0) + 1)
    const answer = async () => {
      if (path === "/.well-known/openid-configuration") return { issuer: url, jwks_uri: `${url}/keys` }
      if (path === "/keys") return { keys: [{ ...(await exportJWK(current.publicKey)), kid: current.kid, alg: "RS256", use: "sig" }] }
      return null
    }
    void answer().then((body) => {
      response.writeHead(body === null ? 404 : 200, { "content-type": "application/json" })
      response.end(JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  const token = (claims: JWTPayload, kid: string, issuer = url, expiresIn = "10m") =>
    new SignJWT({ aud: audience, ...claims })
      .setProtectedHeader({ alg: "RS256", kid })
      .setIssuer(issuer)
      .setIssuedAt()
      .setExpirationTime(expiresIn)
  return {
    get url() {
      return url
    },
    asked: (path) => counts.get(path) ?? 0,
    sign: (claims, more = {}) => token(claims, more.kid ?? current.kid, more.issuer, more.expiresIn).sign(current.privateKey),
    forge: async (claims) => token(claims, current.kid).sign((await generateKeyPair("RS256")).privateKey),
    rotate: async () => {
      current = await newKey()
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      })
  }
}
