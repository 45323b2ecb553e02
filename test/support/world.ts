/** One row of every owned table for a user, put there by the owner: something for others to fail to reach. */
import { v7 as uuidv7 } from 'uuid';
import { withOwner } from '../../src/database/owner.ts';
import { accountTables, type OwnedTableName, ownedTables } from '../../src/isolation/owned-tables.ts';

/** Ids by table; also the second task, which the first depends on, and what belongs to the user's account. */
export type World = Readonly<Record<OwnedTableName | 'second_task' | 'session' | 'api_token', string>>;

/** What a row needs beside its id and owner; `{table}` stands for the id of the user's row of that table. */
const needs: Record<OwnedTableName, string> = {
  projects: `name = 'canary'`,
  agents: `name = 'canary'`,
  project_git_branchs: `name = 'canary', project_id = '{projects}', assigned_agent_id = '{agents}'`,
  tasks: `title = 'canary', description = 'canary', git_branch_id = '{project_git_branchs}'`,
  task_subtasks: `title = 'canary', task_id = '{tasks}'`,
  task_dependencies: `task_id = '{tasks}', depends_on_task_id = '{second_task}'`,
  task_assignees: `assignee_id = 'canary', task_id = '{tasks}', agent_id = '{agents}'`,
  labels: `name = 'canary'`,
  task_labels: `task_id = '{tasks}', label_id = '{labels}'`,
  rules: `name = 'canary', content = 'canary', scope = 'project', project_id = '{projects}'`,
  global_contexts: `organization_id = 'canary'`,
  project_contexts: `project_id = '{projects}', data = '{"canary":1}'`,
  branch_contexts: `branch_id = '{project_git_branchs}', data = '{"canary":1}'`,
  task_contexts_unified: `task_id = '{tasks}', data = '{"canary":1}'`,
};

/** Tables whose rows go by the id of what they describe. */
const describes: Partial<Record<OwnedTableName, OwnedTableName>> = {
  project_contexts: 'projects',
  branch_contexts: 'project_git_branchs',
  task_contexts_unified: 'tasks',
};

/** @param mark stands in every text of the rows, so that they can be told from another user's */
export async function plantWorld(ownerUrl: string, userId: string, mark = 'canary'): Promise<World> {
  const ids: Record<string, string> = { second_task: uuidv7() };
  await withOwner(ownerUrl, async (owner) => {
    const insert = (table: string, id: string, assignments: string) => {
      const parts = assignments.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? '').split(/, (?=\w+ =)/);
      const columns = parts.map((part) => part.split(' = ', 1)[0]);
      const values = parts.map((part) => part.slice(part.indexOf(' = ') + 3));
      return owner.query(
        `insert into ${table} (id, user_id, ${columns.join(', ')}) values ('${id}', '${userId}', ${values.join(', ')})`,
      );
    };
    for (const { table } of ownedTables) {
      const described = describes[table];
      const id = table === 'global_contexts' ? userId : described ? ids[described] : uuidv7();
      ids[table] = id ?? '';
      const assignments = needs[table].replaceAll('canary', mark);
      await insert(table, ids[table], assignments);
      if (table === 'tasks') await insert('tasks', ids.second_task ?? '', assignments);
    }
    ids.session = uuidv7();
    ids.api_token = uuidv7();
    const hash = `decode('${'00'.repeat(32)}', 'hex')`;
    await owner.query(
      `insert into sessions (user_id, id, token_hash, expires_at, user_agent) values ($1, $2, ${hash}, now() + interval '1 day', $3)`,
      [userId, ids.session, mark],
    );
    await owner.query(
      `insert into api_tokens (user_id, id, name, token_hash, scopes) values ($1, $2, $3, ${hash}, '{read}')`,
      [userId, ids.api_token, mark],
    );
  });
  return ids as World;
}

/** A hash of everything that the user owns, table by table: unchanged means that nobody touched it. */
export async function fingerprint(ownerUrl: string, userId: string): Promise<Record<string, string>> {
  return withOwner(ownerUrl, async (owner) => {
    const hashes: Record<string, string> = {};
    for (const { table, column } of [
      ...ownedTables.map((owned) => ({ ...owned, column: 'user_id' })),
      ...accountTables,
    ]) {
      const { rows } = await owner.query<{ hash: string }>(
        `select count(*) || ' ' || coalesce(md5(string_agg(t::text, ',' order by t.id)), '') as hash from ${table} t where ${column} = $1`,
        [userId],
      );
      hashes[table] = rows[0]?.hash ?? '';
    }
    return hashes;
  });
}
