/** Whose the rows are that an object of the catalogue leads to: a rule for each kind, and no benefit of the doubt. */
import { ownSchemas, type TableLabel } from '../../catalog.ts';
import { identifier } from '../../identifier.ts';
import { type Expectation, type Guarded, hasReached, shadowRole, systemRole } from '../expectation.ts';
import { harmlessExtensions } from './extensions.ts';
import { type Classified, type Found, type Kind, type Reviewed, titleOf } from './found.ts';

export interface Rules {
  readonly expectation: Expectation;
  readonly guarded: ReadonlyMap<TableLabel, Guarded>;
  /** With their partitions. */
  readonly shared: ReadonlySet<TableLabel>;
  readonly ignored: ReadonlySet<TableLabel>;
  readonly reviewed: Reviewed;
}

type Verdict = Pick<Classified, 'class' | 'reason' | 'remedy'>;

const owned = (reason: string): Verdict => ({ class: 'owned', reason });
const shared = (reason: string): Verdict => ({ class: 'shared', reason });
const denied = (reason: string): Verdict => ({ class: 'denied', reason });
const unclassified = (reason: string, remedy: string): Verdict => ({ class: 'unclassified', reason, remedy });

export function classify(found: Found, rules: Rules): Classified {
  const verdict = reach(found) ?? verdicts[found.kind](found, rules);
  const why = rules.reviewed[titleOf(found)];
  if (verdict.class === 'unclassified' && why !== undefined) return { ...found, ...shared(`reviewed: ${why}`) };
  return { ...found, ...verdict };
}

function reach({ privileges, open }: Found): Verdict | null {
  if (privileges.length === 0) return denied('no privilege');
  return open ? null : denied('a privilege that cannot be used: the way to it is closed');
}

const verdicts: Readonly<Record<Kind, (found: Found, rules: Rules) => Verdict>> = {
  role: roleOf,
  database: databaseOf,
  schema: schemaOf,
  table: tableOf,
  'foreign table': (found, rules) =>
    rules.shared.has(found.name)
      ? shared('declared shared')
      : unclassified('its rows lie elsewhere, and no policy can stand before them', revoke(found, rules)),
  view: viewOf,
  'materialized view': viewOf,
  sequence: sequenceOf,
  function: functionOf,
  trigger: triggerOf,
  'large object': (found) =>
    unclassified(
      `the application may ${list(found)} it, and no policy stands before a large object`,
      `revoke all on large object ${found.name} from public; or give it to another owner`,
    ),
  'default privileges': defaultsOf,
  'foreign server': outside,
  'foreign data wrapper': outside,
  'user mapping': (found) =>
    unclassified(
      'the application goes to another server with it',
      `drop user mapping for ${found.name.replace(' on ', ' server ')}`,
    ),
  publication: publicationOf,
  subscription: () =>
    unclassified('it writes rows that nobody has signed for', 'Look at what it brings in, then name it in --reviewed.'),
  'event trigger': ({ facts }) =>
    unclassified(
      `${facts.function} runs when the application logs in`,
      'Look at the function, then name it in --reviewed.',
    ),
  language: ({ facts }) =>
    facts.trusted
      ? shared('what is written in it runs as its caller')
      : unclassified('it reaches the server’s files', 'revoke usage on language … from public'),
  setting: (found) =>
    unclassified(
      `the application may ${list(found)} it`,
      `revoke all on parameter ${found.name} from public, the application’s roles`,
    ),
  'relation of Postgres': ofPostgres,
  'function of Postgres': ofPostgres,
};

function roleOf({ name, facts }: Found, { expectation, guarded }: Rules): Verdict {
  const { appRole } = expectation.ownership;
  const owns = [...guarded.values()].some(({ table }) => identifier(table.owner) === name);
  if (facts.predefined || facts.mighty || owns || name === systemRole || name === shadowRole) {
    const reason = owns ? 'it owns tables of users’ rows' : 'it stands above policies, or sees more than rows';
    return unclassified(reason, `revoke ${name} from ${identifier(appRole)}`);
  }
  return shared('what it may is counted with the application’s own');
}

function databaseOf({ name, privileges }: Found, { expectation }: Rules): Verdict {
  const more = privileges.filter((privilege) => privilege !== 'CONNECT');
  if (more.length === 0) return shared('CONNECT');
  // Before the seal the old application may need it; `app-role` says so.
  if (!hasReached(expectation, 'seal')) return shared(`${privileges.join(', ')}, until the seal`);
  return unclassified(
    `the application may make ${more.includes('TEMPORARY') ? 'temporary tables, where the next user of a connection finds them' : 'schemas'}`,
    `revoke ${more.join(', ').toLowerCase()} on database ${identifier(name)} from public`,
  );
}

function schemaOf({ name, privileges }: Found, { expectation }: Rules): Verdict {
  if (!privileges.includes('CREATE')) return shared('names can be looked up');
  if (!hasReached(expectation, 'seal')) return shared(`${privileges.join(', ')}, until the seal`);
  return unclassified('the application may make objects in it', `revoke create on schema ${name} from public`);
}

function tableOf(found: Found, rules: Rules): Verdict {
  const { name, extension, privileges, facts } = found;
  const beyond = privileges.filter((p) => ['TRUNCATE', 'TRIGGER', 'MAINTAIN'].includes(p));
  if (beyond.length > 0) {
    return unclassified(
      `the application may ${beyond.join(', ')}, before which no policy stands`,
      revoke(found, rules),
    );
  }
  if (facts.rules && facts.rules.length > 0) {
    const reason = `the rule ${facts.rules.join(', ')} does more than was asked, as the table’s owner`;
    return unclassified(reason, `drop rule … on ${name}`);
  }
  const guarded = rules.guarded.get(name);
  if (guarded) {
    const enforced = guarded.table.rowSecurity && guarded.table.forced;
    return enforced
      ? owned('policies, forced')
      : unclassified(
          'it holds users’ rows and its policies are not in force',
          `alter table ${name} force row level security`,
        );
  }
  const writes = privileges.filter((p) => p !== 'SELECT');
  if (rules.shared.has(name)) {
    if (writes.length === 0) return shared('declared shared, to be read');
    return unclassified(`declared shared, and the application may ${writes.join(', ')}`, revoke(found, rules));
  }
  if (extension !== null) return ofExtension(found);
  if (rules.ignored.has(name)) return unclassified('declared out of reach, and it is in reach', revoke(found, rules));
  return unclassified(
    'nobody has said whose its rows are',
    `Classify it in the configuration, or ${revoke(found, rules)}`,
  );
}

function viewOf(found: Found, rules: Rules): Verdict {
  const { kind, name, extension, facts, privileges } = found;
  if (extension !== null) return ofExtension(found);
  const over = facts.over ?? [];
  if (facts.asCaller) {
    return over.some((table) => rules.guarded.has(table))
      ? owned('read as its caller, policies and all')
      : shared('read as its caller');
  }
  const tables = over.filter((table) => !rules.shared.has(table));
  const readOnly = privileges.every((privilege) => privilege === 'SELECT');
  if (tables.length === 0 && readOnly) return shared('it reads what is declared shared alone');
  const what = over.length === 0 ? 'it is written through' : tables.join(', ');
  return kind === 'view'
    ? unclassified(`its owner’s rights open ${what}`, `alter view ${name} set (security_invoker = true)`)
    : unclassified(`it is a copy of ${what}, which no policy filters`, revoke(found, rules));
}

function sequenceOf(found: Found, rules: Rules): Verdict {
  const { extension, facts, privileges } = found;
  if (extension !== null) return ofExtension(found);
  if (privileges.includes('UPDATE')) {
    return unclassified(
      'one user can set it back for all',
      `revoke update on sequence ${found.name} from ${rolesText(rules)}`,
    );
  }
  const feeds = (facts.over ?? []).filter((table) => rules.guarded.has(table));
  return feeds.length > 0
    ? shared(`it numbers the rows of ${feeds.join(', ')}: who draws sees how many were drawn`)
    : unclassified('it numbers no table of the plan', `revoke all on sequence ${found.name} from ${rolesText(rules)}`);
}

/** Both give the identity that the caller signed for, or nothing. */
const verifier: ReadonlySet<string> = new Set(['ringfence.current_user_id()', 'ringfence.verified_user_id(boolean)']);

function functionOf(found: Found, { expectation }: Rules): Verdict {
  const { name, extension, facts } = found;
  if (verifier.has(name)) return shared('says who one is, once the signature is verified');
  if (expectation.extras.functions.includes(name)) return shared('named in the plan: it was looked at');
  const remedy = `revoke execute on function ${name} from public; or look at it, then name it in --reviewed`;
  if (!facts.asCaller) return unclassified(`it runs as ${found.owner}, whatever it reads`, remedy);
  if (extension !== null) return ofExtension(found);
  if (!facts.trusted) return unclassified(`it is written in ${facts.language}, which reaches more than rows`, remedy);
  return shared('runs as its caller');
}

function triggerOf({ name, owner, facts }: Found, { expectation }: Rules): Verdict {
  const ours = facts.schema !== undefined && ownSchemas.includes(facts.schema) && !hasReached(expectation, 'seal');
  if (ours) return shared('of the rollout, until the seal');
  if (facts.asCaller && facts.trusted) return shared(`${facts.function} runs as who writes`);
  return unclassified(
    `${facts.function} runs as ${owner} for every row that is written, also one that a policy refuses then`,
    `Look at the function, then name “trigger ${name}” in --reviewed; or drop it.`,
  );
}

function defaultsOf(found: Found): Verdict {
  // Functions and types are open to everybody in a new cluster; what a function reads, the function's own rule says.
  if (found.facts.of === 'f' || found.facts.of === 'T') return shared('as in a new cluster');
  return unclassified(
    `the application gets ${list(found)} before anybody has put a policy before them`,
    `alter default privileges for role ${identifier(found.owner ?? '')} … revoke all on … from public, the application’s roles`,
  );
}

function outside(found: Found): Verdict {
  return unclassified(
    'it leads out of this database, where nothing was looked at',
    `revoke usage on ${found.kind} ${found.name} from public, the application’s roles`,
  );
}

function publicationOf({ name, facts }: Found, { guarded }: Rules): Verdict {
  const tables = (facts.over ?? []).filter((table) => guarded.has(table));
  if (tables.length === 0 && !facts.everything) return shared('it sends no rows of users');
  const what = facts.everything ? 'all tables' : tables.join(', ');
  return unclassified(
    `it sends the rows of all users of ${what} to whoever subscribes, past the policies`,
    `drop publication ${identifier(name)}; or name it in --reviewed, with who subscribes`,
  );
}

function ofPostgres(found: Found): Verdict {
  return unclassified(
    `the application may ${list(found)} it, which a new cluster gives to nobody`,
    `revoke all on ${found.kind.split(' ')[0] === 'relation' ? 'table' : 'function'} ${found.name} from public, the application’s roles`,
  );
}

function ofExtension({ extension, kind, name }: Found): Verdict {
  if (extension !== null && harmlessExtensions.has(extension))
    return shared(`of the extension ${extension}: shows nobody’s rows`);
  return unclassified(
    `of the extension ${extension}, which nobody has looked at`,
    `revoke it from public; or look at it, then name “${kind} ${name}” or “extension ${extension}” in --reviewed`,
  );
}

const list = ({ privileges }: Found) => privileges.join(', ');

const rolesText = ({ expectation }: Rules) => `public, ${identifier(expectation.ownership.appRole)}`;

const revoke = ({ name }: Found, rules: Rules) => `revoke all on ${name} from ${rolesText(rules)}`;
