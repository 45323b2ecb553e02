import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { Assignee } from '../contract/task-fields.ts';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';

export class TaskAssigneeRepository extends BaseUserScopedRepository {
  protected readonly table = 'task_assignees';

  async add(taskId: string, assignees: readonly Assignee[]): Promise<void> {
    const rows = assignees.map(({ assignee_id, agent_id, role }) => ({
      id: uuidv7(),
      task_id: taskId,
      assignee_id,
      agent_id: agent_id ?? null,
      role: role ?? 'contributor',
    }));
    await this.write('create', this.db.insertInto('task_assignees').values(rows).returning('id'));
  }

  /** @returns how many of them were assigned */
  remove(taskId: string, assigneeIds: readonly string[]): Promise<number> {
    return this.write(
      'delete',
      this.db
        .deleteFrom('task_assignees')
        .where('task_id', '=', taskId)
        .where(sql<boolean>`task_assignees.assignee_id = any(${[...assigneeIds]}::text[])`)
        .returning('id'),
    );
  }

  list(taskId: string): Promise<Required<Assignee>[]> {
    return this.scope.all<Required<Assignee>>(
      this.db
        .selectFrom('task_assignees')
        .select(['assignee_id', 'agent_id', 'role'])
        .where('task_id', '=', taskId)
        .orderBy('assigned_at')
        .orderBy('id'),
    );
  }
}
