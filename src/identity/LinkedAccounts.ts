/**
 * The accounts that an identity token lists, and which of them a user is known by.
 *
 * @since 0.1.0
 */
import { Predicate } from "effect"
import * as Json from "../../schemas/Json.ts"
import { normaliseEmail } from "./EmailAddress.ts"
import type { VerifiedClaims } from "./IdentityTokens.ts"
import type { SignInMethod } from "./Sessions.ts"

/** How a user is known, and the address proved by it; null when none is. @category models @since 0.1.0 */
export interface BestAccount {
  readonly method: SignInMethod
  readonly email: string | null
}

type Claims = Readonly<Record<string, unknown>>

const GOOGLE = ["https://accounts.google.com", "accounts.google.com"]

const kinds: Readonly<Record<string, "email" | "google" | "phone" | "github">> = {
  email: "email",
  google: "google",
  google_oauth: "google",
  phone: "phone",
  sms: "phone",
  github: "github",
  github_oauth: "github"
}

/** Tried in this order, whatever order a token lists them in. */
const order = ["email", "google", "phone", "github"] as const

const isTrue = (value: unknown): boolean => value === true || value === "true"
const isTime = (value: unknown): boolean => (typeof value === "number" && value > 0) || (typeof value === "string" && value !== "")

/** Whether the issuer says that it checked a listed account: by a flag, or by when it did. */
const isVerified = (account: Claims): boolean =>
  ["verified", "email_verified", "phone_number_verified"].some((name) => isTrue(account[name])) ||
  (account["verified"] !== false && ["verified_at", "first_verified_at", "latest_verified_at", "lv"].some((name) => isTime(account[name])))

const emailOf = (account: Claims): string | null => {
  const address = account["email"] ?? account["address"]
  return typeof address === "string" && isVerified(account) ? normaliseEmail(address) : null
}

/** The list itself, or as text (which some issuers make of it). */
const listOf = (value: unknown): ReadonlyArray<unknown> => {
  const list = typeof value === "string" ? Json.parse(value) : value
  return Array.isArray(list) ? list.slice(0, 100) : []
}

/** What is proved by the accounts of one kind. */
const provedBy = (kind: (typeof order)[number], { claims, issuer }: VerifiedClaims): BestAccount | null => {
  if (kind === (GOOGLE.includes(issuer) ? "google" : "email")) {
    const address = claims["email"]
    const email = typeof address === "string" && isTrue(claims["email_verified"]) ? normaliseEmail(address) : null
    if (email !== null) return { method: kind, email }
  }
  if (kind === "phone" && isTrue(claims["phone_number_verified"]) && isTime(claims["phone_number"])) return { method: kind, email: null }
  for (const account of listOf(claims["linked_accounts"])) {
    if (!Predicate.isObject(account)) continue
    const listed: Claims = { ...account }
    const type = listed["type"]
    if (typeof type !== "string" || !Object.hasOwn(kinds, type) || kinds[type] !== kind) continue
    const email = kind === "phone" ? null : emailOf(listed)
    if (kind === "email" || kind === "google" ? email !== null : isVerified(listed)) return { method: kind, email }
  }
  return null
}

/**
 * The account that a user is known by: the first kind of which the issuer verified one. Nothing unverified, no name and no
 * part of an address counts; without any, the user is known by the issuer's subject alone.
 *
 * @category accessors
 * @since 0.1.0
 */
export const bestAccount = (claims: VerifiedClaims): BestAccount => {
  for (const kind of order) {
    const found = provedBy(kind, claims)
    if (found !== null) return found
  }
  return { method: "identity", email: null }
}
