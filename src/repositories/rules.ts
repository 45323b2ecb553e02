import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { RuleCreate, RuleFilter, RulePatch } from '../contract/rules.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

/** What of a rule other fields depend on. */
export interface RuleLink {
  readonly id: string;
  readonly parent_rule_id: string | null;
  readonly scope: string;
  readonly project_id: string | null;
  readonly git_branch_id: string | null;
}

export class RuleRepository extends BaseUserScopedRepository {
  protected readonly table = 'rules';

  list(filter: RuleFilter, request: PageRequest): Promise<Page> {
    const { scope, project_id, git_branch_id, parent_rule_id, enabled } = filter;
    const view = this.#view()
      .$if(scope !== undefined, (query) => query.where('rules.scope', '=', scope ?? ''))
      .$if(project_id !== undefined, (query) => query.where('rules.project_id', '=', project_id ?? ''))
      .$if(git_branch_id !== undefined, (query) => query.where('rules.git_branch_id', '=', git_branch_id ?? ''))
      .$if(parent_rule_id !== undefined, (query) => query.where('rules.parent_rule_id', '=', parent_rule_id ?? ''))
      .$if(enabled !== undefined, (query) => query.where('rules.enabled', '=', enabled ?? true));
    return this.page(view, newestFirst, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.#view().where('rules.id', '=', id));
  }

  /** @returns the id of the new rule */
  async create(rule: RuleCreate): Promise<string> {
    const id = uuidv7();
    await this.write(
      'create',
      this.db
        .insertInto('rules')
        .values({ id, ...rule })
        .returning('id'),
    );
    return id;
  }

  /** @returns whether there was such a row, at that version if one is given */
  async update(id: string, patch: RulePatch, version?: number): Promise<boolean> {
    const changed = await this.write(
      'update',
      this.db
        .updateTable('rules')
        .set({ ...patch, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
        .returning('id'),
    );
    return changed > 0;
  }

  /** The rules that refine it stay, without a parent. */
  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom('rules').where('id', '=', id).returning('id'))) > 0;
  }

  /** One rule, and nobody changes it until the transaction ends. */
  lock(id: string): Promise<RuleLink | undefined> {
    return this.scope.first(this.#links().where('id', '=', id).forUpdate());
  }

  /**
   * Every rule, and nobody changes any of them until the transaction ends. In the order of their ids, so that two who
   * do this wait for each other and never both.
   */
  lockAll(): Promise<RuleLink[]> {
    return this.scope.all(this.#links().orderBy('id').forUpdate());
  }

  #links() {
    return this.db.selectFrom('rules').select(['id', 'parent_rule_id', 'scope', 'project_id', 'git_branch_id']);
  }

  #view() {
    return this.db
      .selectFrom('rules')
      .select([
        'id',
        'name',
        'content',
        'parent_rule_id',
        'scope',
        'project_id',
        'git_branch_id',
        'priority',
        'enabled',
        'version',
        'created_at',
        'updated_at',
      ]);
  }
}
