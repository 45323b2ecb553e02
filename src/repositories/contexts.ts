import { sql } from 'kysely';
import { type ContextLevel, contextTiers } from '../contract/contexts.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { BaseUserScopedRepository, type JsonDocument, type View } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

const tables = {
  global: 'global_contexts',
  project: 'project_contexts',
  branch: 'branch_contexts',
  task: 'task_contexts_unified',
} as const satisfies Record<ContextLevel, string>;

/** What a context describes, up to the top. */
export interface Chain {
  readonly owner: string;
  readonly project: string;
  readonly branch?: string;
  readonly task?: string;
}

/** Values by column; objects go as JSON text. */
export type ContextValues = Readonly<Record<string, string | boolean | null>>;

/** Contexts of one tier. The four tables differ in their columns alone, and these are in `contextTiers`. */
export class ContextRepository extends BaseUserScopedRepository {
  protected readonly table: (typeof tables)[ContextLevel];
  readonly #level: ContextLevel;

  constructor(scope: ProductUserScope, level: ContextLevel) {
    super(scope);
    this.#level = level;
    this.table = tables[level];
  }

  list(request: PageRequest): Promise<Page> {
    return this.page(this.#view(), newestFirst, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.#view(id));
  }

  /** Its present values, and nobody changes them until the transaction ends. */
  lock(id: string): Promise<(Record<string, unknown> & { version: number }) | undefined> {
    return this.scope.first(this.db.selectFrom(this.table).selectAll().where('id', '=', id).forUpdate());
  }

  /** @returns false when there is one already */
  async make(id: string, values: ContextValues): Promise<boolean> {
    const made = await this.write(
      'create',
      this.db
        .insertInto(this.table)
        .values({ id, ...values })
        .onConflict((oc) => oc.doNothing())
        .returning('id'),
    );
    return made > 0;
  }

  async update(id: string, values: ContextValues): Promise<boolean> {
    const changed = await this.write(
      'update',
      this.db
        .updateTable(this.table)
        .set({ ...values, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .returning('id'),
    );
    return changed > 0;
  }

  /** Makes it refer to the tier above where it does not yet; a deletion up there leaves such gaps. */
  async fillParent(id: string, column: string, parent: string | boolean | null): Promise<boolean> {
    if (parent === null) return false;
    const changed = await this.write(
      'update',
      this.db
        .updateTable(this.table)
        .set({ [column]: parent, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where(this.db.dynamic.ref<never>(`${this.table}.${column}`), 'is', null)
        .returning('id'),
    );
    return changed > 0;
  }

  /** The contexts below it stay, without a parent, until one of them is written. */
  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom(this.table).where('id', '=', id).returning('id'))) > 0;
  }

  async exists(id: string): Promise<boolean> {
    return (await this.scope.first(this.db.selectFrom(this.table).select('id').where('id', '=', id))) !== undefined;
  }

  /** What the context with this id would describe, or undefined when there is nothing with this id. */
  chain(id: string): Promise<Chain | undefined> {
    // The user, except while isolation is off: a global context is then looked for among its owner's (see linksOf).
    const owner = sql<string>`coalesce(to_jsonb(e) ->> 'user_id', ${this.scope.caller.userId}::text)`.as('owner');
    switch (this.#level) {
      case 'global':
        return Promise.resolve(undefined);
      case 'project':
        return this.scope.first(
          this.db.selectFrom('projects as e').select(['e.id as project', owner]).where('e.id', '=', id),
        );
      case 'branch':
        return this.scope.first(
          this.db
            .selectFrom('project_git_branchs as e')
            .select(['e.id as branch', 'e.project_id as project', owner])
            .where('e.id', '=', id),
        );
      case 'task':
        return this.scope.first(
          this.db
            .selectFrom('tasks as e')
            .innerJoin('project_git_branchs as b', 'b.id', 'e.git_branch_id')
            .select(['e.id as task', 'b.id as branch', 'b.project_id as project', owner])
            .where('e.id', '=', id),
        );
    }
  }

  #view(id?: string): View {
    const { objects, flags, texts, links } = contextTiers[this.#level];
    const own = ['id', ...Object.keys(texts), ...objects, ...flags, 'version', 'created_at', 'updated_at'];
    const column = (name: string) => this.db.dynamic.ref<never>(`${this.table}.${name}`);
    const level = sql<string>`${this.#level}::text`.as('level');
    if (this.#level !== 'task') {
      return this.db
        .selectFrom(this.table)
        .select([...own, ...links].map(column))
        .select(level)
        .$if(id !== undefined, (query) => query.where('id', '=', id ?? ''));
    }
    // A task can move to another branch: where it is now counts, not where it was when its context was written.
    return this.db
      .selectFrom('task_contexts_unified')
      .innerJoin('tasks', 'tasks.id', 'task_contexts_unified.task_id')
      .leftJoin('branch_contexts', 'branch_contexts.id', 'tasks.git_branch_id')
      .select([...own, 'task_id'].map(column))
      .select([level, 'tasks.git_branch_id as parent_branch_id', 'branch_contexts.id as parent_branch_context_id'])
      .$if(id !== undefined, (query) => query.where('task_contexts_unified.id', '=', id ?? ''));
  }
}
