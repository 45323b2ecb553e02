import { z } from 'zod';
import { id, pageOf, pageQuery, text } from './common.ts';

const reason = text(1, 200).describe('Why system mode is used; kept in the access log.');

/** `X-System-Reason` says the same as `?reason=`; other headers pass. */
export const systemHeaders = z.looseObject({ 'x-system-reason': reason.optional() });

const ownerFilter = { user_id: id.optional().describe('Only this user’s rows.'), reason: reason.optional() };

export const systemPageQuery = pageQuery.extend(ownerFilter);
export const systemRowQuery = z.object(ownerFilter).strict();

export const usersQuery = pageQuery.extend({
  status: z.enum(['active', 'suspended', 'quarantine']).optional(),
  email: text(3, 320).optional(),
  reason: reason.optional(),
});

export const accessLogQuery = pageQuery.extend({
  ...ownerFilter,
  outcome: z.enum(['ok', 'refused', 'system']).optional(),
  operation: text(1, 100).optional(),
});

/** A row as the table holds it; `user_id` is missing on a schema before isolation. */
export const systemRow = z.looseObject({ id: z.uuid(), user_id: z.uuid().optional() }).meta({ title: 'SystemRow' });
export const systemPage = pageOf(systemRow).meta({ title: 'SystemRowPage' });

export const account = z
  .object({
    id: z.uuid(),
    email: z.string(),
    name: z.string(),
    roles: z.array(z.enum(['user', 'admin'])),
    status: z.enum(['active', 'suspended', 'quarantine']),
    external_issuer: z.string().nullable(),
    last_login_at: z.string().nullable(),
    failed_login_attempts: z.int(),
    locked_until: z.string().nullable(),
    version: z.int(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .meta({ title: 'Account' });
export const accountPage = pageOf(account);

export const accessLogLine = z.object({
  user_id: z.uuid(),
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
export const accessLogPage = pageOf(accessLogLine);
