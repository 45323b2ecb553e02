/**
 * Every method of every repository, as the code has them, in one user's scope: about rows of another user, about rows
 * of nobody, and about the user's own. The first two must come to the same and change nothing; it is asked again with
 * each wall taken away.
 */
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { ProductUserScope } from '../../src/database/isolation.ts';
import { withOwner } from '../../src/database/owner.ts';
import { Problem } from '../../src/errors.ts';
import { DeadHandleError } from '../../src/isolation/connection.ts';
import { accountTables, ownedTables, ownership } from '../../src/isolation/owned-tables.ts';
import type { Caller } from '../../src/isolation/scope.ts';
import { BaseUserScopedRepository } from '../../src/repositories/base-user-scoped-repository.ts';
import { startTestServer, type TestServer, type TestUser } from '../support/server.ts';
import { fingerprint, plantWorld } from '../support/world.ts';
import { moves, type RepositoryMove, type Subject } from './repository-moves.ts';

/** What is made for another scope than a user's, by the type of that scope. */
const otherScopes: Readonly<Record<string, 'ProductAccountsScope' | 'ProductSystemScope'>> = {
  // Signing in, and checking what is presented: nobody is known yet. The statements name the user themselves.
  AccountRepository: 'ProductAccountsScope',
  RefreshTokenRepository: 'ProductAccountsScope',
  ApiTokenCheckRepository: 'ProductAccountsScope',
  // The command line, whose user holds the database's log-ins anyway.
  AccountAdministration: 'ProductAccountsScope',
  // Administrators, with a reason and on the record (I7).
  SystemAccounts: 'ProductSystemScope',
  SystemRows: 'ProductSystemScope',
};

/** What a user without either wall does not notice, so that its move says nothing about them. */
const outOfReachAnyway = [
  // Reach no rows, or rows of a user that they name themselves.
  'ProjectRepository.create',
  // A dependency or a label link of his cannot lead to hers: composite keys.
  'TaskDependencyRepository.reaches (from one’s own)',
  'TaskLabelRepository.remove (label)',
  // Compare the owners of task and label themselves.
  'LabelRepository.idsFor',
  'LabelRepository.idsFor (name)',
  // What is taken is taken a user: unique constraints begin with the owner.
  'ContextRepository.make (global)',
  'IdempotencyKeyRepository.take',
  'inboxBranch',
  'inSavepoint',
  'lockUser',
  'OwnedDataRepository.openExport',
];

type RepositoryClass = new (scope: unknown, ...rest: unknown[]) => BaseUserScopedRepository;

const isClass = (value: unknown): value is RepositoryClass =>
  typeof value === 'function' && Function.prototype.toString.call(value).startsWith('class');
const extendsBase = (value: RepositoryClass) => value.prototype instanceof BaseUserScopedRepository;

const folder = new URL('../../src/repositories/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
const sources = files.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');
const exported = new Map<string, unknown>();
for (const name of files) {
  const module: Record<string, unknown> = await import(new URL(name, folder).href);
  for (const [key, value] of Object.entries(module)) exported.set(key, value);
}
const classes = [...exported].flatMap(([name, value]) =>
  isClass(value) && name !== 'BaseUserScopedRepository' ? [{ name, made: value }] : [],
);
const repositories = classes.filter(({ made }) => extendsBase(made));
const functions = [...exported].flatMap(([name, value]) =>
  typeof value === 'function' && !isClass(value) ? [{ name, parameters: parametersOf(name) }] : [],
);
/** Functions that run something in a user's scope. The others reach no row: without a scope there is none (I1). */
const confined = functions
  // It runs what repositories give it, in whatever scope they have.
  .filter(({ name }) => name !== 'page')
  .filter(({ parameters }) => /: (ProductUserScope|UserScope<.*>|StatementRunner<.*>)(?!\w|\[)/.test(parameters))
  .map(({ name }) => name);

function parametersOf(name: string): string {
  const found = new RegExp(`^export (?:async )?function ${name}(?:<[^(]*>)?\\(([^)]*)`, 'm').exec(sources);
  if (found?.[1] === undefined) throw new Error(`${name}: write it as a function, or it cannot be found`);
  return found[1];
}

/** Without what is private to the language; what is private to the compiler alone counts. */
function methodsOf(made: RepositoryClass): string[] {
  const methods: string[] = [];
  for (let p = made.prototype; p !== BaseUserScopedRepository.prototype; p = Object.getPrototypeOf(p)) {
    methods.push(...Object.getOwnPropertyNames(p).filter((name) => name !== 'constructor'));
  }
  return methods;
}

const named = (move: string) => move.replace(/ \(.*\)$/, '');

describe('the matrix knows', () => {
  test('every class: it is confined to a user, or it is listed with the scope that it takes', () => {
    expect(repositories.length).toBeGreaterThan(15);
    const declared = [
      ...sources.matchAll(/^(?:export )?(?:abstract )?class (\w+)( extends BaseUserScopedRepository)?/gm),
    ];
    const others = declared.filter(([, , base]) => base === undefined).map(([, name]) => name);
    expect(others.sort()).toEqual(['BaseUserScopedRepository', ...Object.keys(otherScopes)].sort());
    for (const [name, scope] of Object.entries(otherScopes)) {
      const source = sources.slice(sources.indexOf(`class ${name} `));
      expect(/constructor\(scope: (\w+)\)/.exec(source)?.[1], name).toBe(scope);
    }
    expect(
      repositories.flatMap(({ made }) =>
        Object.getOwnPropertyNames(made).filter((k) => !/^(length|name|prototype)$/.test(k)),
      ),
    ).toEqual([]);
  });

  test('every method and every function, and no other', () => {
    const known = repositories.flatMap(({ name, made }) => methodsOf(made).map((method) => `${name}.${method}`));
    const tested = new Set(Object.keys(moves).map(named));
    expect(known.length).toBeGreaterThan(80);
    expect([...known, ...confined].filter((name) => !tested.has(name))).toEqual([]);
    expect([...tested].filter((name) => ![...known, ...confined].includes(name))).toEqual([]);
  });
});

const catalogue = new Map(ownership);
let server: TestServer;
let ann: TestUser;
let bob: TestUser;
let hers: Subject;
let his: Subject;
let nobodys: Subject;
/** What must not be seen: hers, once she is there. */
let strangers: readonly string[] = [];
/** What the harmless calls came to while he was alone: her coming must not change it. */
const alone = new Map<string, Outcome>();
let before: Record<string, string>;

beforeAll(async () => {
  server = await startTestServer();
  bob = await server.user();
  his = await plant(bob, 'bobs own words');
  // What is the same in his is the same here: a context has the id of what it describes.
  const ids = new Map(Object.values(his).map((id) => [id, uuidv7()]));
  nobodys = {
    ...(Object.fromEntries(Object.entries(his).map(([key, id]) => [key, ids.get(id)])) as unknown as Subject),
    mark: 'nobodys own words',
  };
  for (const [name, move] of Object.entries(moves)) {
    if (move.harmless) alone.set(name, await outcome(bob.caller, move, nobodys, his));
  }
  ann = await server.user();
  hers = await plant(ann, 'anns own words');
  strangers = Object.values(hers);
  before = await fingerprint(server.database.url, ann.id);
});
afterAll(() => server?.close());

/** One row of everything that a repository reaches; of the keys an old one too, which is swept when there is a chance. */
async function plant(user: TestUser, mark: string): Promise<Subject> {
  const world = await plantWorld(server.database.url, user.id, mark);
  const idempotency_key = uuidv7();
  await withOwner(server.database.url, async (owner) => {
    await owner.query(
      `insert into idempotency_keys (user_id, id, key, request_hash, response_status, response_body, created_at)
       values ($1, $2, $4, $5, 201, $4, now()), ($1, $3, $4 || ' of old', $5, 201, $4, now() - interval '3 days')`,
      [user.id, idempotency_key, uuidv7(), mark, Buffer.alloc(32)],
    );
    await owner.query(
      `insert into user_access_log (user_id, actor, operation, outcome, reason) values ($1, 'session', 'test', 'ok', $2)`,
      [user.id, mark],
    );
  });
  return { ...world, mark, idempotency_key };
}

interface Outcome {
  /** SQLSTATE, or our own code, of a refusal. */
  readonly code?: string;
  readonly seen: string;
}

/** A value or an error as a caller can tell it apart, but for ids and names that were sent and for new ids. */
function seen(result: unknown, about: Subject, own: Subject): string {
  let text = JSON.stringify(result) ?? 'undefined';
  for (const [key, value] of Object.entries(about)) text = text.replaceAll(value, `<${key}>`);
  for (const [key, value] of Object.entries(own)) text = text.replaceAll(value, `<own ${key}>`);
  for (const stranger of strangers) expect(text).not.toContain(stranger);
  return text.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<new>');
}

const undone = new Error('undone');

/** @param end `undo` takes back what the call did. */
async function outcome(
  caller: Caller,
  move: RepositoryMove,
  about: Subject,
  own: Subject,
  end: 'undo' | 'keep' = 'undo',
): Promise<Outcome> {
  let value: unknown;
  try {
    await server.isolation.withUser(caller, async (scope) => {
      value = await move.call(scope, about, own);
      if (end === 'undo') throw undone;
    });
  } catch (error) {
    if (error instanceof pg.DatabaseError) {
      const { code = '', constraint, message, detail } = error;
      return { code, seen: seen({ code, constraint, message, detail }, about, own) };
    }
    if (error instanceof Problem && error.code !== 'unauthenticated') {
      return { code: error.code, seen: seen([error.code, error.message, error.extensions], about, own) };
    }
    if (error !== undone) throw error;
  }
  return { seen: seen(value, about, own) };
}

/** What the call comes to for another user when the rows are hers, and what it should. */
async function compared(name: string, move: RepositoryMove): Promise<{ exists: Outcome; absent: Outcome | undefined }> {
  const absent = await outcome(bob.caller, move, nobodys, his);
  if (move.harmless) return { exists: absent, absent: alone.get(name) };
  return { exists: await outcome(bob.caller, move, hers, his), absent };
}

async function hidden(): Promise<void> {
  for (const [name, move] of Object.entries(moves)) {
    const { exists, absent } = await compared(name, move);
    expect(exists, name).toEqual(absent);
  }
}

/** For calls that are kept: one of them ends all sessions. */
const withoutSession = ({ caller: { sessionId: _, ...caller } }: TestUser): Caller => caller;

/** The same, and nothing is taken back. */
async function untouched(): Promise<void> {
  const plantUser = async () => {
    const user = await server.user();
    return { caller: withoutSession(user), own: await plant(user, 'words of somebody') };
  };
  let somebody = await plantUser();
  for (const [name, move] of Object.entries(moves)) {
    await outcome(somebody.caller, move, hers, somebody.own, 'keep');
    if (name === 'OwnedDataRepository.erase') somebody = await plantUser();
  }
  expect(await fingerprint(server.database.url, ann.id)).toEqual(before);
}

test('the owner is served, and not as somebody to whom the rows are hidden', async () => {
  for (const [name, move] of Object.entries(moves)) {
    const [repository = '', method] = named(name).split('.');
    const made = exported.get(repository);
    const spy = method && isClass(made) ? vi.spyOn(made.prototype, method as never) : undefined;
    const own = await outcome(bob.caller, move, his, his);
    if (spy) expect(spy, name).toHaveBeenCalled();
    spy?.mockRestore();
    expect(own.code, `${name}: ${own.seen}`).toBe(move.refused);
    if (move.harmless) continue;
    expect(own, name).not.toEqual(await outcome(bob.caller, move, nobodys, his));
  }
});

test('another user’s rows are like rows that are not there', async () => {
  await hidden();
  await untouched();
});

describe('nobody', () => {
  test('gets a repository', async () => {
    const scopes: unknown[] = [undefined, null, {}, { db: {} }, { caller: null }];
    await server.isolation.withAccounts('matrix', async (accounts) => {
      const actor = (await server.user()).caller;
      await server.isolation.asSystem({ actor, reason: 'matrix' }, async (system) => {
        for (const { name, made } of repositories) {
          for (const scope of [...scopes, accounts, system])
            expect(() => new made(scope, 'task'), name).toThrow(TypeError);
        }
      });
    });
  });

  test('gets system mode by a user’s scope', async () => {
    const system = classes.filter(({ name }) => otherScopes[name] === 'ProductSystemScope');
    expect(system.length).toBe(2);
    await server.isolation.withUser(bob.caller, async (own) => {
      for (const { name, made } of system) {
        for (const scope of [undefined, null, {}, own]) expect(() => new made(scope), name).toThrow(TypeError);
      }
    });
  });

  test('uses a scope whose transaction is over', async () => {
    const ended: ProductUserScope[] = [];
    await server.isolation.withUser(bob.caller, async (scope) => ended.push(scope));
    await expect(
      server.isolation.withUser(bob.caller, async (scope) => {
        ended.push(scope);
        throw undone;
      }),
    ).rejects.toBe(undone);
    for (const scope of ended) {
      for (const [name, move] of Object.entries(moves)) {
        await expect((async () => move.call(scope, his, his))(), name).rejects.toThrow(DeadHandleError);
      }
    }
  });
});

describe('and with one wall alone', () => {
  afterEach(() => {
    const emptied: unknown = ownership;
    if (emptied instanceof Map) for (const [table, entry] of catalogue) emptied.set(table, entry);
  });
  const takeFilterAway = () => {
    const emptied: unknown = ownership;
    if (emptied instanceof Map) emptied.clear();
  };
  const withoutPolicies = async (work: () => Promise<void>) => {
    const set = (verb: 'enable' | 'disable') =>
      withOwner(server.database.url, (owner) =>
        owner.query(
          [...ownedTables, ...accountTables]
            .map(({ table }) => `alter table ${table} ${verb} row level security;`)
            .join(''),
        ),
      );
    await set('disable');
    try {
      await work();
    } finally {
      await set('enable');
    }
  };

  test('without the owner filter', async () => {
    takeFilterAway();
    await hidden();
    await untouched();
  });

  test('without the policies', () =>
    withoutPolicies(async () => {
      await hidden();
      await untouched();
    }));

  test('without either, the rows are in reach: the test can fail', () =>
    withoutPolicies(async () => {
      takeFilterAway();
      await expect(hidden()).rejects.toThrow();
      const blind: string[] = [];
      for (const [name, move] of Object.entries(moves)) {
        const result = await compared(name, move).catch(() => undefined);
        // The composite keys are a wall of their own: there is no row of his that refers to one of hers.
        const keyed = result?.exists.code === '23503' || move.refused !== undefined;
        if (result && !keyed && JSON.stringify(result.exists) === JSON.stringify(result.absent)) blind.push(name);
      }
      expect(blind).toEqual(outOfReachAnyway);

      // And what is in reach is not left as it was, in any table but the log, which takes additions alone.
      for (const move of Object.values(moves)) {
        await outcome(withoutSession(bob), move, hers, his, 'keep').catch(() => undefined);
      }
      const after = await fingerprint(server.database.url, ann.id);
      expect(Object.keys(before).filter((table) => before[table] === after[table])).toEqual(['user_access_log']);
    }));
});
