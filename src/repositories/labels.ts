import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { LabelCreate, LabelPatch } from '../contract/labels.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const byName: Sort = { name: 'name', key: 'v.name', type: 'text', direction: 'asc' };

export class LabelRepository extends BaseUserScopedRepository {
  protected readonly table = 'labels';

  list(request: PageRequest): Promise<Page> {
    return this.page(this.#view(), byName, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.#view().where('labels.id', '=', id));
  }

  /** @returns the id of the new label */
  async create(label: LabelCreate): Promise<string> {
    const id = uuidv7();
    await this.write(
      'create',
      this.db
        .insertInto('labels')
        .values({ id, ...label })
        .returning('id'),
    );
    return id;
  }

  /** @returns whether there was such a row, at that version if one is given */
  async update(id: string, patch: LabelPatch, version?: number): Promise<boolean> {
    const changed = await this.write(
      'update',
      this.db
        .updateTable('labels')
        .set({ ...patch, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
        .returning('id'),
    );
    return changed > 0;
  }

  /** Takes itself off every task. */
  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom('labels').where('id', '=', id).returning('id'))) > 0;
  }

  /**
   * The ids of the labels of these names that a task can have; unknown names are made.
   *
   * While isolation is off several users' labels of one name are in sight, and a task can only have its owner's. The
   * owner is compared by way of JSON, since the schema before isolation has no such column.
   */
  async idsFor(taskId: string, names: readonly string[]): Promise<string[]> {
    const known = await this.#known(taskId, names);
    const missing = names.filter((name) => !known.some((label) => label.name === name)).sort();
    if (missing.length === 0) return known.map((label) => label.id);
    await this.write(
      'create',
      this.db
        .insertInto('labels')
        .values(missing.map((name) => ({ id: uuidv7(), name })))
        .onConflict((oc) => oc.constraint('uq_labels_name').doNothing())
        .returning('id'),
    );
    return (await this.#known(taskId, names)).map((label) => label.id);
  }

  #known(taskId: string, names: readonly string[]): Promise<{ id: string; name: string }[]> {
    return this.scope.all(
      this.db
        .selectFrom('labels as l')
        .innerJoin('tasks as t', (join) => join.on('t.id', '=', taskId))
        .where(sql<boolean>`l.name = any(${[...names]}::text[])`)
        .where(sql<boolean>`to_jsonb(l) ->> 'user_id' is not distinct from to_jsonb(t) ->> 'user_id'`)
        .select(['l.id', 'l.name']),
    );
  }

  #view() {
    return this.db
      .selectFrom('labels')
      .select(['id', 'name', 'color', 'description', 'version', 'created_at', 'updated_at'])
      .select((eb) =>
        eb
          .selectFrom('task_labels')
          .whereRef('task_labels.label_id', '=', 'labels.id')
          .select((inner) => inner.fn.countAll<number>().as('count'))
          .as('task_count'),
      );
  }
}
