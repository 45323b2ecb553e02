/** What people see, in the guide's words (section 8), in ours and in plain ones, and what is looked at for it. */
import type { DatabaseCheckName } from '../rollout/doctor/checks.ts';

export const serverCheckNames = [
  'config',
  'clock',
  'token',
  'schema',
  'identity-key',
  'log-ins',
  'isolation-flag',
  'memory',
  'logs',
] as const;
export type ServerCheckName = (typeof serverCheckNames)[number];

export interface Symptom {
  /** As the message is written; shown when nothing fits. */
  readonly text: string;
  /** What else it is called. */
  readonly means: RegExp;
  readonly server: readonly ServerCheckName[];
  readonly database: readonly DatabaseCheckName[];
}

export const symptoms: readonly Symptom[] = [
  {
    text: 'Invalid token', // G64, G65, G67
    means: /invalid token|invalid jwt|jwt validation|invalid_token|signature|token (is )?(refused|rejected)|bearer/i,
    server: ['config', 'token', 'clock', 'identity-key', 'logs'],
    database: [],
  },
  {
    text: 'Token expired', // G64, G66
    means: /(token|jwt|session).*expire|expire.*(token|jwt|session)|clock/i,
    server: ['config', 'token', 'clock'],
    database: [],
  },
  {
    text: 'User ID not found in request', // G68, G69
    means: /user.?(id|context).*not (found|extracted)|no user|user context|missing.*(token|authorization)|\b401\b/i,
    server: ['config', 'token', 'logs', 'isolation-flag'],
    database: [],
  },
  {
    text: 'Cross-user data visible', // G70–G73
    means:
      /cross.?user|(other|another) user'?s?|someone else|sees? (all|every)|data (visible|leak)|leak(s|ed|ing)? data/i,
    server: ['isolation-flag', 'schema', 'log-ins'],
    database: ['guards', 'reach', 'claims', 'statements', 'system-mode'],
  },
  {
    text: 'System mode not working', // G74, G75
    means: /system.?mode|admin.*(fail|not work|nothing|filter|empty)|ringfence_system/i,
    server: ['log-ins', 'isolation-flag', 'token'],
    database: ['system-mode'],
  },
  {
    text: 'Slow queries', // G76–G78
    means: /slow|performance|latency|timeout|takes? (too )?long|seq(uential)? scan|index/i,
    server: ['logs'],
    database: ['indexes', 'planner', 'upkeep', 'locks', 'statements'],
  },
  {
    text: 'Memory usage increases', // G79–G81
    means: /memory|\brss\b|\boom\b|heap|too many (clients|connections)|53300|connection limit/i,
    server: ['memory'],
    database: ['sessions'],
  },
  {
    text: 'RF001: no user identity is set for this transaction',
    means: /RF001|no user identity is set/i,
    server: ['isolation-flag'],
    database: ['identity', 'reach'],
  },
  {
    text: 'RF002: the user identity is not signed by a key of this database',
    means: /RF002|not signed by a key|identity key/i,
    server: ['config', 'identity-key'],
    database: ['identity'],
  },
  {
    text: 'RF003: the user identity has expired',
    means: /RF003|identity has expired/i,
    server: ['clock'],
    database: ['sessions', 'locks'],
  },
  {
    text: 'RF004: the user identity was made for another connection',
    means: /RF004|another connection|pgbouncer|pooler/i,
    server: ['identity-key'],
    database: ['identity', 'sessions'],
  },
  {
    text: 'RF010: user isolation (003) is applied: take it down first',
    means: /RF010|take it down first/i,
    server: ['schema'],
    database: ['guards'],
  },
  {
    text: 'RF011: references between rows of two owners',
    means: /RF011|references? between|23503|foreign key/i,
    server: [],
    database: ['keys', 'claims'],
  },
  {
    text: 'RF012: two users have rows of one key',
    means: /RF012|duplicate key|23505|rows of one key/i,
    server: [],
    database: ['keys'],
  },
  {
    text: '42501: permission denied',
    means: /42501|permission denied|violates row-level security|insufficient.?privilege/i,
    server: ['log-ins'],
    database: ['privileges', 'guards', 'identity'],
  },
  {
    text: '42P10: there is no unique constraint matching the ON CONFLICT specification',
    means: /42P10|on conflict/i,
    server: [],
    database: ['keys'],
  },
  {
    text: '55P03: canceling statement due to lock timeout',
    means: /55P03|lock.?timeout|waits? for a lock|blocked|deadlock|rollout_in_progress/i,
    server: [],
    database: ['locks', 'sessions'],
  },
  {
    text: 'The database cannot be reached',
    means:
      /cannot be reached|unreachable|ECONNREFUSED|database_unavailable|no server runs|connection (refused|was lost|terminated)|did not start|in use by/i,
    server: ['config', 'log-ins'],
    database: ['sessions'],
  },
  {
    text: 'The database role is not safe to serve with',
    means: /not safe to serve|unsafe_database_role|superuser|BYPASSRLS|lacks the policy/i,
    server: ['log-ins'],
    database: ['reach', 'guards'],
  },
  {
    text: 'The configuration is not valid',
    means: /config(uration)?\b|JWT_SECRET_KEY|environment|placeholder|weak secret/i,
    server: ['config', 'identity-key'],
    database: [],
  },
  {
    text: 'The schema is at version 2',
    means: /schema is at version|migrate up|migration_failed|relation .* does not exist|42P01/i,
    server: ['schema'],
    database: ['guards'],
  },
];

/** Those whose text the symptom holds, or that hold it; else those that mean it. */
export function matchSymptoms(described: string): readonly Symptom[] {
  const wanted = plain(described);
  if (wanted === '') return [];
  const byText = symptoms.filter(({ text }) => {
    const known = plain(text);
    return wanted.includes(known) || (wanted.length >= 6 && known.includes(wanted));
  });
  return byText.length > 0 ? byText : symptoms.filter(({ means }) => means.test(described));
}

function plain(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, ' ')
    .trim();
}
