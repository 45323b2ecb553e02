import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { ProjectCreate, ProjectPatch } from '../contract/projects.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';
import { countColumns, taskCounts } from './task-counts.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

export class ProjectRepository extends BaseUserScopedRepository {
  protected readonly table = 'projects';

  list(request: PageRequest): Promise<Page> {
    return this.page(this.#view(), newestFirst, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.#view().where('projects.id', '=', id));
  }

  async exists(id: string): Promise<boolean> {
    return (await this.scope.first(this.db.selectFrom('projects').select('id').where('id', '=', id))) !== undefined;
  }

  /** @returns the id of the new project */
  async create(project: ProjectCreate): Promise<string> {
    const id = uuidv7();
    await this.write(
      'create',
      this.db
        .insertInto('projects')
        .values({
          id,
          name: project.name,
          description: project.description ?? '',
          metadata: JSON.stringify(project.metadata ?? {}),
        })
        .returning('id'),
    );
    return id;
  }

  /** @returns whether there was such a row, at that version if one is given */
  async update(id: string, patch: ProjectPatch, version?: number): Promise<boolean> {
    const { metadata, ...columns } = patch;
    const changed = await this.write(
      'update',
      this.db
        .updateTable('projects')
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

  /** Takes its branches, tasks and contexts with it. */
  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom('projects').where('id', '=', id).returning('id'))) > 0;
  }

  #view() {
    return this.db
      .selectFrom('projects')
      .innerJoinLateral(
        (eb) =>
          eb
            .selectFrom('project_git_branchs as b')
            .innerJoin('tasks', 'tasks.git_branch_id', 'b.id')
            .select(taskCounts)
            .whereRef('b.project_id', '=', 'projects.id')
            .as('t'),
        (join) => join.onTrue(),
      )
      .select((eb) => [
        'projects.id',
        'projects.name',
        'projects.description',
        'projects.status',
        'projects.metadata',
        eb
          .selectFrom('project_git_branchs as b')
          .select(sql<number>`count(*)::integer`.as('count'))
          .whereRef('b.project_id', '=', 'projects.id')
          .as('branch_count'),
        ...countColumns,
        'projects.version',
        'projects.created_at',
        'projects.updated_at',
      ]);
  }
}
