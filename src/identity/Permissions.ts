/**
 * What each role may do.
 *
 * @since 0.1.0
 */
import type { Role } from "../../schemas/Account.ts"

const free = [
  "users:read",
  "users:update",
  "coupons:redeem",
  "coupons:list_available",
  "coupons:view_history",
  "api_keys:read",
  "api_keys:list",
  "usage:read",
  "inference:create"
] as const
const dev = [
  ...free,
  "api_keys:create",
  "api_keys:update",
  "api_keys:delete",
  "analytics:read",
  "webhooks:manage",
  "prompts:manage"
] as const
const team = [...dev, "team:read", "team:manage_members", "usage:read_team", "batch:create", "guardrails:manage"] as const
const admin = [
  ...team,
  "users:create",
  "users:delete",
  "users:list",
  "coupons:create",
  "coupons:update",
  "coupons:delete",
  "coupons:list",
  "coupons:analytics",
  "plans:create",
  "plans:read",
  "plans:update",
  "plans:delete",
  "monitoring:read",
  "audit_logs:read",
  "providers:manage",
  "models:manage",
  "credits:adjust"
] as const

/** Something that a role may do, as `resource:action`. @category models @since 0.1.0 */
export type Permission = (typeof admin)[number]

/** The permissions of every role. @category policies @since 0.1.0 */
export const permissions: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  free: new Set(free),
  dev: new Set(dev),
  team: new Set(team),
  admin: new Set(admin)
}

/** @category predicates @since 0.1.0 */
export const may = (role: Role, permission: Permission): boolean => permissions[role].has(permission)

/**
 * What a key can be made for: `inference` asks models, `read` looks at the account, `write` changes it, `admin` (of a user
 * with that role) is the operator's; `*` is all of them.
 *
 * @category policies
 * @since 0.1.0
 */
export const scopes = ["*", "inference", "read", "write", "admin"] as const

/** @category predicates @since 0.1.0 */
export const isScope = (text: string): boolean => scopes.some((scope) => scope === text)

const looks: ReadonlyArray<string> = ["read", "list", "list_available", "view_history"]

/** The scope that a permission needs. */
const scopeOf = (permission: Permission): string => {
  if (permission === "inference:create") return "inference"
  if (!permissions.team.has(permission)) return "admin"
  return looks.includes(permission.slice(permission.indexOf(":") + 1)) ? "read" : "write"
}

/** Whether a key of these scopes is made for something. @category predicates @since 0.1.0 */
export const inScope = (given: ReadonlyArray<string>, permission: Permission): boolean =>
  given.includes("*") || given.includes(scopeOf(permission))

/** Whether a key of these scopes may give others: no more than its own. @category predicates @since 0.1.0 */
export const mayGive = (own: ReadonlyArray<string>, given: ReadonlyArray<string>): boolean =>
  own.includes("*") || given.every((scope) => own.includes(scope))
