/**
 * How people come in: they register, they log in with a password or with an identity that an issuer vouches for.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId, User } from "../../schemas/Account.ts"
import { Accounts, type MadeUser } from "./Accounts.ts"
import { type AccountsError, fail, fromDatabase } from "./AccountsError.ts"
import { DisposableMail, domainOf, normaliseEmail } from "./EmailAddress.ts"
import { IdentityTokens } from "./IdentityTokens.ts"
import { bestAccount } from "./LinkedAccounts.ts"
import { Partners } from "./Partners.ts"
import { Passwords, refusePassword } from "./Passwords.ts"
import { type BegunSession, Sessions, type SignInMethod } from "./Sessions.ts"

/** @category models @since 0.1.0 */
export interface Registration {
  readonly email: string
  readonly password: Redacted.Redacted
  readonly partnerCode: string | null
  readonly referralCode: string | null
}

/** A registration that may go on: its values are sane. @category models @since 0.1.0 */
export interface CheckedRegistration extends Registration {
  readonly checked: true
}

/** @category models @since 0.1.0 */
export interface SignedIn {
  readonly user: User
  readonly session: BegunSession
}

/** @category services @since 0.1.0 */
export class SignIn extends Context.Service<
  SignIn,
  {
    /** Refuses what can never be registered, before anything is counted or hashed. */
    readonly check: (registration: Registration) => Effect.Effect<CheckedRegistration, AccountsError>
    readonly register: (registration: CheckedRegistration) => Effect.Effect<MadeUser & { readonly session: BegunSession }, AccountsError>
    /** Takes as long for an address that nobody has as for a wrong password. */
    readonly login: (email: string, password: Redacted.Redacted) => Effect.Effect<SignedIn, AccountsError>
    /**
     * Logs in by an issuer's token, making the account the first time: then the key is there, once. `current` is who is
     * logged in already, and links the identity to that account.
     */
    readonly identify: (
      token: Redacted.Redacted,
      nonce: string | null,
      current: AccountId | null
    ) => Effect.Effect<SignedIn & { readonly apiKey: Redacted.Redacted | null; readonly method: SignInMethod }, AccountsError>
  }
>()("sluice/identity/SignIn") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const parts: Parts = {
        sql: yield* SqlClient.SqlClient,
        accounts: yield* Accounts,
        disposable: yield* DisposableMail,
        partners: yield* Partners,
        passwords: yield* Passwords,
        sessions: yield* Sessions,
        tokens: yield* IdentityTokens
      }
      return SignIn.of({ check: check(parts), register: register(parts), login: login(parts), identify: identify(parts) })
    })
  )
}

interface Parts {
  readonly sql: SqlClient.SqlClient
  readonly accounts: Accounts["Service"]
  readonly disposable: DisposableMail["Service"]
  readonly partners: Partners["Service"]
  readonly passwords: Passwords["Service"]
  readonly sessions: Sessions["Service"]
  readonly tokens: IdentityTokens["Service"]
}

const LoginRows = Schema.Array(
  Schema.Struct({ id: Schema.String, password_hash: Schema.NullOr(Schema.String), status: Schema.String, email_verified: Schema.Boolean })
)
const IdentityRows = Schema.Array(Schema.Struct({ user_id: Schema.String, status: Schema.String }))

const mayLogIn = (status: string): boolean => status === "active" || status === "trial"
const inactive = fail("not_allowed", "The account is not active.")

/** Longer codes are nobody's. */
const MAX_CODE = 64

const refuseDisposable = Effect.fnUntraced(function* ({ disposable }: Parts, email: string) {
  if (yield* disposable.isDisposable(domainOf(email))) {
    return yield* fail("disposable_email", "Addresses of this domain are not accepted. Use one that you keep.")
  }
})

const check = (parts: Parts) =>
  Effect.fnUntraced(function* (registration: Registration) {
    const email = normaliseEmail(registration.email)
    if (email === null) return yield* fail("invalid_email", "`email` must be an e-mail address.")
    const wrong = refusePassword(Redacted.value(registration.password))
    if (wrong !== null) return yield* fail("invalid_password", wrong)
    for (const [name, code] of Object.entries({ partner_code: registration.partnerCode, referral_code: registration.referralCode })) {
      if (code !== null && code.trim().length > MAX_CODE)
        return yield* fail("invalid_input", `\`${name}\` has at most ${MAX_CODE} characters.`)
    }
    yield* refuseDisposable(parts, email)
    const checked: CheckedRegistration = { ...registration, email, checked: true }
    return checked
  })

/** A partner's code sets the terms, in whichever field it came; another is somebody's or nobody's, and is kept either way. */
const codesOf = Effect.fnUntraced(function* ({ partners }: Parts, registration: Registration) {
  const given = registration.referralCode?.trim().toUpperCase()
  const referral = given === undefined || given === "" ? undefined : given
  if (registration.partnerCode === null && referral !== undefined) {
    const partner = yield* Effect.option(partners.find(referral))
    if (partner._tag === "Some") return { partnerCode: partner.value.code }
  }
  const known = referral === undefined ? undefined : yield* Effect.option(partners.referrer(referral))
  return {
    partnerCode: registration.partnerCode ?? undefined,
    referralCode: known?._tag === "Some" ? referral : undefined,
    referredByCode: referral
  }
})

const register = (parts: Parts) =>
  Effect.fnUntraced(function* (registration: CheckedRegistration) {
    // Hashed before anybody looks whether the address is taken: the answer's time does not tell.
    const passwordHash = yield* parts.passwords.hash(registration.password)
    const codes = yield* codesOf(parts, registration)
    const made = yield* parts.accounts.create({ email: registration.email, plan: null, passwordHash, ...codes })
    return { ...made, session: yield* parts.sessions.begin(made.user.id, "password") }
  })

const login = (parts: Parts) =>
  Effect.fnUntraced(function* (given: string, password: Redacted.Redacted) {
    const { accounts, passwords, sessions, sql } = parts
    const email = normaliseEmail(given) ?? ""
    const rows = yield* sql`SELECT id, password_hash, status, email_verified FROM users WHERE email = ${email}`
    const [row] = yield* Schema.decodeUnknownEffect(LoginRows)(rows)
    const right = yield* passwords.verify(password, row?.password_hash ?? null)
    if (row === undefined || !right) return yield* fail("wrong_credentials", "The e-mail address or the password is wrong.")
    if (!mayLogIn(row.status)) return yield* inactive
    return { user: yield* accounts.get(row.id), session: yield* sessions.begin(row.id, "password") }
  }, Effect.mapError(fromDatabase))

const known = Effect.fnUntraced(function* ({ sql }: Parts, issuer: string, subject: string) {
  const rows = yield* sql`SELECT i.user_id, u.status FROM identities i JOIN users u ON u.id = i.user_id
    WHERE i.issuer = ${issuer} AND i.subject = ${subject}`
  return (yield* Schema.decodeUnknownEffect(IdentityRows)(rows))[0]
})

const link = ({ sql }: Parts, id: AccountId, identity: { readonly issuer: string; readonly subject: string; readonly method: string }) =>
  sql`INSERT INTO identities (issuer, subject, user_id, method) VALUES (${identity.issuer}, ${identity.subject}, ${id}, ${identity.method})`

/**
 * The account that a verified address leads to. One that somebody registered with a password is not given away on an address
 * that this somebody never proved to have, nor the other way round: it is linked by who is logged in to it.
 */
const accountOf = Effect.fnUntraced(function* ({ sql }: Parts, email: string) {
  const rows = yield* sql`SELECT id, password_hash, status, email_verified FROM users WHERE email = ${email}`
  const [row] = yield* Schema.decodeUnknownEffect(LoginRows)(rows)
  if (row === undefined) return null
  if (!row.email_verified) {
    return yield* fail(
      "not_linked",
      "There is an account with this address. Log in to it, and send this token again with that session to link the two."
    )
  }
  return row
})

const identifyOnce = (parts: Parts) =>
  Effect.fnUntraced(function* (token: Redacted.Redacted, nonce: string | null, current: AccountId | null) {
    const { accounts, sessions, tokens } = parts
    const claims = yield* tokens.verify(token, nonce)
    const { issuer, subject } = claims
    const best = bestAccount(claims)
    const begin = Effect.fnUntraced(function* (id: AccountId, apiKey: Redacted.Redacted | null) {
      return { user: yield* accounts.get(id), session: yield* sessions.begin(id, best.method), apiKey, method: best.method }
    })
    const identity = yield* known(parts, issuer, subject)
    if (identity !== undefined) {
      if (current !== null && current !== identity.user_id) return yield* fail("not_linked", "This identity belongs to another account.")
      return mayLogIn(identity.status) ? yield* begin(identity.user_id, null) : yield* inactive
    }
    if (current !== null) {
      yield* link(parts, current, { issuer, subject, method: best.method })
      if (best.email !== null) yield* parts.sql`UPDATE users SET email_verified = true WHERE id = ${current} AND email = ${best.email}`
      return yield* begin(current, null)
    }
    if (best.email !== null) {
      yield* refuseDisposable(parts, best.email)
      const found = yield* accountOf(parts, best.email)
      if (found !== null) {
        if (!mayLogIn(found.status)) return yield* inactive
        yield* link(parts, found.id, { issuer, subject, method: best.method })
        return yield* begin(found.id, null)
      }
    }
    const made = yield* accounts.create({
      email: best.email,
      plan: null,
      emailVerified: best.email !== null,
      identity: { issuer, subject, method: best.method }
    })
    return yield* begin(made.user.id, made.apiKey)
  }, Effect.mapError(fromDatabase))

/** Of two first logins at once one makes the account: the other finds it when it looks again. */
const identify = (parts: Parts): SignIn["Service"]["identify"] => {
  const once = identifyOnce(parts)
  return (token, nonce, current) =>
    Effect.retry(once(token, nonce, current), { times: 1, while: ({ reason }) => reason === "email_taken" || reason === "identity_taken" })
}
