/** Everybody's rows, for administrators: each owned table as it is, owner included. Made with system mode alone (I7). */
import { sql } from 'kysely';
import type { ProductSystemScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { type OwnedTableName, ownedTables } from '../isolation/owned-tables.ts';
import { type Page, type PageRequest, page, type Sort } from './page.ts';

/** Each table's name in addresses. A table without one does not compile. */
export const systemNames: Readonly<Record<OwnedTableName, string>> = {
  projects: 'projects',
  agents: 'agents',
  project_git_branchs: 'branches',
  tasks: 'tasks',
  task_subtasks: 'subtasks',
  task_dependencies: 'dependencies',
  task_assignees: 'assignees',
  labels: 'labels',
  task_labels: 'task-labels',
  rules: 'rules',
  global_contexts: 'global-contexts',
  project_contexts: 'project-contexts',
  branch_contexts: 'branch-contexts',
  task_contexts_unified: 'task-contexts',
};

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };
/** Ids are UUIDv7, which begin with the time: newest first as well, but for rows that are older than this product. */
const byId: Sort = { name: 'id', key: 'v.id', type: 'uuid', direction: 'desc' };

/** Only orders that an unscoped index of the table has. */
function sortOf(table: OwnedTableName): Sort {
  const found = ownedTables.find((entry) => entry.table === table);
  return found?.unscoped.some(({ columns }) => columns[0] === 'created_at') ? newestFirst : byId;
}

export class SystemRows {
  readonly #scope: ProductSystemScope;

  constructor(scope: ProductSystemScope) {
    if (!scope?.use) throw new TypeError('system mode is required');
    this.#scope = scope;
  }

  /** @param userId undefined for everybody's rows */
  list(table: OwnedTableName, request: PageRequest, userId?: string): Promise<Page> {
    return page(this.#scope, this.#rows(table, userId), sortOf(table), request);
  }

  /**
   * Two users may have rows of the same id.
   *
   * @returns the row as JSON, or undefined
   * @throws Problem `conflict` with the owners when there are several
   */
  async get(table: OwnedTableName, id: string, userId?: string): Promise<string | undefined> {
    const rows = await this.#scope.all<{ json: string; owner: string | null }>(
      this.#scope.db
        .selectFrom(this.#rows(table, userId).where('id', '=', id).as('r'))
        .select([
          sql<string>`row_to_json(r)::text`.as('json'),
          sql<string | null>`to_json(r) ->> 'user_id'`.as('owner'),
        ])
        .limit(20),
    );
    if (rows.length > 1) {
      throw problem('conflict', 'user_id: several users have a row with this id; say whose is meant.', {
        user_ids: rows.map((row) => row.owner),
      });
    }
    return rows[0]?.json;
  }

  #rows(table: OwnedTableName, userId: string | undefined) {
    const rows = this.#scope.db.selectFrom(table).selectAll();
    return userId === undefined ? rows : rows.where('user_id', '=', userId);
  }
}
