/**
 * The routes by which people come in and leave, described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { User } from "../../schemas/Account.ts"
import { failures, Row } from "./ApiShapes.ts"

const Code = Schema.optional(Schema.NullOr(Schema.String))

/** `POST /auth/register`. @category schemas @since 0.1.0 */
export const RegisterBody = Schema.Struct({ email: Schema.String, password: Schema.String, referral_code: Code, partner_code: Code })

/** `POST /auth/login`. @category schemas @since 0.1.0 */
export const LoginBody = Schema.Struct({ email: Schema.String, password: Schema.String })

/** `POST /auth/identity`. @category schemas @since 0.1.0 */
export const IdentityBody = Schema.Struct({ id_token: Schema.String, nonce: Schema.optional(Schema.NullOr(Schema.String)) })

const Session = Schema.Struct({ token: Schema.String, expires_at: Schema.String })
const created = Schema.Struct({ user: User, api_key: Schema.String, session: Session, referral_code: Schema.String }).annotate({
  httpApiStatus: 201
})
const signedIn = Schema.Struct({
  user: User,
  session: Session,
  api_key: Schema.optionalKey(Schema.String),
  method: Schema.optionalKey(Schema.String)
})

/** @category models @since 0.1.0 */
export const AuthApi = HttpApiGroup.make("auth").add(
  HttpApiEndpoint.post("register", "/auth/register", { payload: RegisterBody, success: created, error: failures }),
  HttpApiEndpoint.post("login", "/auth/login", { payload: LoginBody, success: signedIn, error: failures }),
  HttpApiEndpoint.post("identity", "/auth/identity", { payload: IdentityBody, success: signedIn, error: failures }),
  HttpApiEndpoint.post("logout", "/auth/logout", { success: Row, error: failures })
)
