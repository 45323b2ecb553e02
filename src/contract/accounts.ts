import { z } from 'zod';
import { name, pageOf, patchOf, stored, timestamp } from './common.ts';

export const tokenScopes = ['read', 'write', 'admin'] as const;
export type TokenScope = (typeof tokenScopes)[number];

/** One @, no white space, nothing that cannot be seen; whether it can be delivered is not looked into. */
const email = z
  .string()
  .trim()
  .regex(/^[^\s@\p{C}]{1,64}@[^\s@\p{C}]{1,255}$/u, 'must be an e-mail address')
  .describe('An e-mail address; upper and lower case are the same.');

/** Its rules are those of src/access/password.ts; here is only what keeps a request small. */
const password = z.string().max(2_000, 'must be at most 256 characters long');

export const registration = z.object({ email, password, name: name(200) }).strict();
export type Registration = z.infer<typeof registration>;

// An address that could not be registered is one without an account, not a fault of its own.
export const login = z.object({ email: z.string().max(2_000), password }).strict();
export type Login = z.infer<typeof login>;

export const refresh = z.object({ refresh_token: z.string().max(2_000) }).strict();

export const logoutQuery = z
  .object({ all: z.enum(['true', 'false']).default('false').describe('true ends all sessions of the user.') })
  .strict();

export const passwordChange = z.object({ current_password: password, new_password: password }).strict();
export type PasswordChange = z.infer<typeof passwordChange>;

/** Accounts without a password, those of an outside identity provider, send none. */
export const erasure = z.object({ password: password.optional() }).strict().optional();

export const profile = z.object({
  ...stored,
  email: z.string(),
  name: z.string(),
  roles: z.array(z.enum(['user', 'admin'])),
  status: z.enum(['active', 'suspended', 'quarantine']),
  last_login_at: z.string().nullable(),
});
export const profilePatch = patchOf({ name: name(200) });
export type ProfilePatch = z.infer<typeof profilePatch>;

export const signedIn = z.object({
  user: profile,
  access_token: z.string(),
  token_type: z.literal('Bearer'),
  expires_in: z.int().describe('Life of the access token in seconds.'),
  refresh_token: z.string(),
});

const session = z.object({
  id: z.uuid(),
  user_agent: z.string(),
  current: z.boolean(),
  created_at: z.string(),
  refreshed_at: z.string(),
  expires_at: z.string(),
});
export const sessionPage = pageOf(session);

export const apiTokenCreate = z
  .object({
    name: name(200),
    scopes: z
      .array(z.enum(tokenScopes))
      .min(1)
      .max(tokenScopes.length)
      .transform((scopes) => [...new Set(scopes)])
      .default(['read', 'write'])
      .describe('What the token allows. `admin` counts only while its user is an administrator.'),
    expires_at: timestamp.nullable().optional().describe('In 90 days unless said; null: never.'),
  })
  .strict();

const apiToken = z.object({
  id: z.uuid(),
  name: z.string(),
  scopes: z.array(z.enum(tokenScopes)),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  last_used_at: z.string().nullable(),
  usage_count: z.int(),
});
export const apiTokenPage = pageOf(apiToken);
export const apiTokenMade = apiToken.extend({ token: z.string().describe('Shown once and never again.') });

const accessLogEntry = z.object({
  id: z.uuid(),
  at: z.string(),
  actor: z.string(),
  operation: z.string(),
  entity_type: z.string(),
  entity_id: z.uuid().nullable(),
  outcome: z.enum(['ok', 'refused', 'system']),
  reason: z.string(),
  request_id: z.string(),
});
export const accessLogPage = pageOf(accessLogEntry);
