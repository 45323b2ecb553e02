import { z } from 'zod';

/** How far the tasks of a branch or a project are; counted when it is read. */
export const counts = {
  task_count: z.int().min(0).describe('All tasks, also cancelled and archived ones.'),
  completed_task_count: z.int().min(0).describe('Tasks that are done, or were when they were archived.'),
  progress_percentage: z
    .int()
    .min(0)
    .max(100)
    .describe('Completed tasks of those not cancelled, rounded down; 0 without tasks.'),
};
