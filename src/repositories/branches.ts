import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { BranchCreate, BranchFilter, BranchPatch } from '../contract/branches.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';
import { countColumns, taskCounts } from './task-counts.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

/** What of a branch can change; who works on it is decided by an assignment, not by a patch. */
type BranchChange = BranchPatch & { readonly assigned_agent_id?: string | null };

export class BranchRepository extends BaseUserScopedRepository {
  protected readonly table = 'project_git_branchs';

  list(filter: BranchFilter, request: PageRequest): Promise<Page> {
    const { project_id, status, priority, assigned_agent_id } = filter;
    const view = this.#view()
      .$if(project_id !== undefined, (query) => query.where('project_git_branchs.project_id', '=', project_id ?? ''))
      .$if(status !== undefined, (query) => query.where('project_git_branchs.status', '=', status ?? ''))
      .$if(priority !== undefined, (query) => query.where('project_git_branchs.priority', '=', priority ?? ''))
      .$if(assigned_agent_id !== undefined, (query) =>
        query.where('project_git_branchs.assigned_agent_id', '=', assigned_agent_id ?? ''),
      );
    return this.page(view, newestFirst, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.#view().where('project_git_branchs.id', '=', id));
  }

  /** @returns the id of the new branch */
  async create(branch: BranchCreate): Promise<string> {
    const id = uuidv7();
    await this.write(
      'create',
      this.db
        .insertInto('project_git_branchs')
        .values({
          id,
          project_id: branch.project_id,
          name: branch.name,
          description: branch.description ?? '',
          priority: branch.priority ?? 'medium',
          metadata: JSON.stringify(branch.metadata ?? {}),
        })
        .returning('id'),
    );
    return id;
  }

  /** @returns whether there was such a row, at that version if one is given */
  async update(id: string, patch: BranchChange, version?: number): Promise<boolean> {
    const { metadata, ...columns } = patch;
    const changed = await this.write(
      'update',
      this.db
        .updateTable('project_git_branchs')
        .set({
          ...columns,
          ...(metadata === undefined ? {} : { metadata: JSON.stringify(metadata) }),
          version: sql<number>`version + 1`,
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
        .returning('id'),
    );
    return changed > 0;
  }

  /**
   * Takes an archived branch out of the archive, with the status that its tasks speak for.
   *
   * @returns whether there was such a branch in the archive, at that version if one is given
   */
  async restore(id: string, version?: number): Promise<boolean> {
    const changed = await this.write(
      'restore',
      this.db
        .updateTable('project_git_branchs')
        .set((eb) => ({
          status: eb
            .selectFrom('tasks')
            .select(statusOfTasks.as('status'))
            .whereRef('tasks.git_branch_id', '=', 'project_git_branchs.id'),
          version: sql<number>`version + 1`,
          updated_at: sql<Date>`now()`,
        }))
        .where('id', '=', id)
        .where('status', '=', 'archived')
        .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
        .returning('id'),
    );
    return changed > 0;
  }

  /** Takes its tasks and contexts with it. */
  async remove(id: string): Promise<boolean> {
    const removed = await this.write(
      'delete',
      this.db.deleteFrom('project_git_branchs').where('id', '=', id).returning('id'),
    );
    return removed > 0;
  }

  #view() {
    return this.db
      .selectFrom('project_git_branchs')
      .innerJoinLateral(
        (eb) =>
          eb
            .selectFrom('tasks')
            .select(taskCounts)
            .whereRef('tasks.git_branch_id', '=', 'project_git_branchs.id')
            .as('t'),
        (join) => join.onTrue(),
      )
      .select([
        'project_git_branchs.id',
        'project_git_branchs.project_id',
        'project_git_branchs.name',
        'project_git_branchs.description',
        'project_git_branchs.status',
        'project_git_branchs.priority',
        'project_git_branchs.assigned_agent_id',
        'project_git_branchs.metadata',
        ...countColumns,
        'project_git_branchs.version',
        'project_git_branchs.created_at',
        'project_git_branchs.updated_at',
      ]);
  }
}

/** An aggregate without a group always has one row, so a branch without tasks is `todo`. */
const statusOfTasks = sql<string>`case
  when count(tasks.id) = 0 then 'todo'
  when bool_and(tasks.status in ('done', 'cancelled', 'archived')) then 'done'
  when bool_and(tasks.status = 'todo') then 'todo'
  else 'in_progress'
end`;
