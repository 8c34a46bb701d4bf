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
]
const dev = [...free, "api_keys:create", "api_keys:update", "api_keys:delete", "analytics:read", "webhooks:manage", "prompts:manage"]
const team = [...dev, "team:read", "team:manage_members", "usage:read_team", "batch:create", "guardrails:manage"]
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
]

/** The permissions of every role, as `resource:action`. @category policies @since 0.1.0 */
export const permissions: Readonly<Record<Role, ReadonlySet<string>>> = {
  free: new Set(free),
  dev: new Set(dev),
  team: new Set(team),
  admin: new Set(admin)
}

/** @category predicates @since 0.1.0 */
export const may = (role: Role, permission: string): boolean => permissions[role].has(permission)
