import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';

export class TaskLabelRepository extends BaseUserScopedRepository {
  protected readonly table = 'task_labels';

  /** @returns how many of them it did not have yet */
  async add(taskId: string, labelIds: readonly string[]): Promise<number> {
    const rows = labelIds.map((id) => ({ id: uuidv7(), task_id: taskId, label_id: id }));
    return this.write(
      'create',
      this.db
        .insertInto('task_labels')
        .values(rows)
        .onConflict((oc) => oc.constraint('uq_task_labels_pair').doNothing())
        .returning('id'),
    );
  }

  /** @returns how many of them it had */
  remove(taskId: string, names: readonly string[]): Promise<number> {
    return this.write(
      'delete',
      this.db
        .deleteFrom('task_labels')
        .where('task_id', '=', taskId)
        .where((eb) =>
          eb(
            'task_labels.label_id',
            'in',
            eb
              .selectFrom('labels as l')
              .select('l.id')
              .where(sql<boolean>`l.name = any(${[...names]}::text[])`),
          ),
        )
        .returning('id'),
    );
  }
}
