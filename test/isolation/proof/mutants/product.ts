/** Defects of what is answered, logged and kept, above the isolation core. */
import { inCode, type Mutant, suite } from './mutant.ts';

const { matrix, repositories } = suite;
const hiddenRow = 'src/http/hidden-row.test.ts';
const watch = 'src/work/unauthorized-access.ts';
const ownedData = 'src/repositories/owned-data.ts';

/** A route that looks whether a row that it did not find is somebody else's, and then says so in its own way. */
const tells = (table: string, what: string, way: string): readonly [string, string] => [
  `return sendDocument(reply, found(document, '${what}'));`,
  `if (document === undefined && (await isolation.isAnothers(callerOf(request), '${table}', request.params.id))) {
        ${way}
      }
      return sendDocument(reply, found(document, '${what}'));`,
];

export const productMutants: readonly Mutant[] = [
  inCode('I8', 'another user’s row is answered with 403', matrix, 'src/http/routes/projects.ts', [
    ...tells('projects', 'project', 'return reply.code(403).send();'),
  ]),
  inCode('I8', 'another user’s row is answered with another text', matrix, 'src/http/routes/labels.ts', [
    ...tells('labels', 'label', "found(undefined, 'label of yours');"),
  ]),
  inCode('I8', 'another user’s row is answered with another header', matrix, 'src/http/routes/rules.ts', [
    ...tells('rules', 'rule', `reply.header('etag', '"1"');`),
  ]),
  inCode('I8', 'who asks for a row of another user finds no refusal in the own log', hiddenRow, watch, [
    'refusals.add(row);\n',
    '',
  ]),
  inCode('I8', 'who runs the server is not told of it', hiddenRow, watch, ['rows.add(row);\n', '']),
  inCode('I8', 'the own log tells a hidden row from no row', hiddenRow, watch, [
    '    if (own) return;',
    '    if (own || !(await isolation.isAnothers(caller, entity, id))) return;',
  ]),
  inCode(
    'I8',
    'the answer waits for the refusal to be written',
    hiddenRow,
    'src/http/hidden-row.ts',
    ["app.addHook('onResponse', async (request, reply) => {", "app.addHook('onSend', async (request, reply) => {"],
    [
      'for (const row of rows.slice(0, rowsMax)) watch.look({ ...row, caller, method: request.method, route });',
      'for (const row of rows.slice(0, rowsMax)) watch.look({ ...row, caller, method: request.method, route });\n    await watch.drain();',
    ],
  ),
  inCode('I8', 'any table can be asked whether somebody has a row', hiddenRow, 'src/isolation/scope.ts', [
    "if (this.#options.ownership.get(table)?.kind !== 'owned') throw new TypeError(`${table} is no owned table`);",
    '',
  ]),
  inCode(
    'I8',
    'attempts by many operations at once are not looked into',
    hiddenRow,
    'src/http/routes/task-overview.ts',
    ['        notFoundWithin(request, notFound);\n', ''],
  ),
  inCode('I8', 'attempts deep in a body are not looked into', hiddenRow, 'src/http/hidden-row.ts', [
    '    if (holders.has(field)) return referencesIn(content, entity);\n',
    '',
  ]),
  inCode('I8', 'an id in a field that is no column is not looked into', hiddenRow, 'src/http/hidden-row.ts', [
    "  ['dependencies', 'tasks'] as const,\n",
    '',
  ]),
  inCode('I8', 'a request may name so many rows that one is not looked into', hiddenRow, 'src/http/hidden-row.ts', [
    'const rowsMax = 100;',
    'const rowsMax = 20;',
  ]),
  inCode('I8', 'answers may be kept where others share them', matrix, 'src/http/reply.ts', [
    "'private, no-store'",
    "'public, max-age=60'",
  ]),
  inCode('I8', 'a fault of the server tells its text', 'src/http/error-reply.test.ts', 'src/http/error-reply.ts', [
    "status === 500 ? 'Something went wrong on our side. The request id finds it in the log.' : fault.message",
    'fault.message',
  ]),
  inCode('I3', 'a request may say whose the new row is', 'src/http/routes/labels.test.ts', 'src/contract/labels.ts', [
    'description: shape.description.optional() })\n  .strict();',
    'description: shape.description.optional() })\n  .loose();',
  ]),
  inCode('I8', 'a repeated request is not compared with the first', 'src/http/creation.test.ts', 'src/work/once.ts', [
    'if (!kept.requestHash.equals(request.hash)) {',
    'if (false) {',
  ]),
  inCode('I3', 'while isolation is off, an export has everybody’s rows', 'src/http/routes/user.test.ts', ownedData, [
    "this.#rows(table, this.db.selectFrom(table).selectAll().where('user_id', '=', userId)),",
    'this.#rows(table, this.db.selectFrom(table).selectAll().where(sql<boolean>`${userId}::uuid is not null`)),',
  ]),
  inCode(
    'I3',
    'while isolation is off, erasing an account removes everybody’s rows',
    'src/http/routes/user.test.ts',
    ownedData,
    [
      "await this.scope.run(this.db.deleteFrom(table).where('user_id', '=', userId));",
      'if (userId) await this.scope.run(this.db.deleteFrom(table));',
    ],
  ),
  inCode(
    'I3',
    'while isolation is off, a task takes another user’s label',
    repositories,
    'src/repositories/labels.ts',
    ["        .where(sql<boolean>`to_jsonb(l) ->> 'user_id' is not distinct from to_jsonb(t) ->> 'user_id'`)\n", ''],
  ),
  inCode('I7', 'a route of administration is open to every user', matrix, 'src/http/routes/administration.ts', [
    "const config = { access: 'admin' } as const;",
    "const config = { access: 'read' } as const;",
  ]),
  inCode(
    'I7',
    'who is an administrator is not looked up again',
    'src/access/authenticate.test.ts',
    'src/work/administrator.ts',
    ['if (!(await new SystemAccounts(scope).isAdministrator())) {', 'if (false) {'],
  ),
  inCode(
    'I7',
    'a refused administrator leaves no line',
    'src/http/routes/administration.test.ts',
    'src/http/routes/administration.ts',
    ['if (!refused) return;', 'return;'],
  ),
  inCode(
    'I7',
    'isolation that is off is not said in the security log',
    'test/process/isolation-off.test.ts',
    'src/server.ts',
    ['  remind();\n', ''],
  ),
  inCode(
    'I7',
    'isolation that is off looks like one that is on',
    'src/http/routes/health.test.ts',
    'src/http/routes/health.ts',
    ["isolation.enforcement === 'on' ? 'enforced' : 'disabled'", "isolation.enforcement ? 'enforced' : 'disabled'"],
  ),
  inCode('I4', 'temporary objects can be made', suite.forging, 'src/database/provision.ts', [
    'await owner.query(`revoke temporary, create on database ${database} from public`);',
    '',
  ]),
  inCode('I3', 'a role with BYPASSRLS is fit to serve', suite.roleCheck, 'src/isolation/role-check.ts', [
    "(2, r.rolbypassrls, 'has BYPASSRLS'),",
    "(2, false, 'has BYPASSRLS'),",
  ]),
  inCode('I3', 'a role with a further policy is fit to serve', suite.roleCheck, 'src/isolation/role-check.ts', [
    'if (further.length > 0) faults.push',
    'if (further.length > 9) faults.push',
  ]),
  inCode('I3', 'a role with the keys is fit to serve', suite.roleCheck, 'src/isolation/role-check.ts', [
    "'can read or change the keys that identities are signed with'),",
    'null),',
  ]),
];
