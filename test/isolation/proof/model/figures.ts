/** What was done and how often. */
import type { Played } from './play.ts';
import type { ModelledRoute } from './surface.ts';

/** Below this some route may well not have been drawn. */
const enoughForEveryRoute = 20_000;

export function createFigures(routes: readonly ModelledRoute[]) {
  let started: number | undefined;
  const asked = new Set<string>();
  const statuses = new Map<number, number>();
  let cases = 0;
  let operations = 0;
  let requests = 0;
  return {
    begin(): void {
      started ??= performance.now();
    },
    count(played: Played): void {
      cases += 1;
      requests += played.requests;
      for (const [status, times] of played.statuses) {
        operations += times;
        statuses.set(status, (statuses.get(status) ?? 0) + times);
      }
      for (const name of played.routesAsked) asked.add(name);
    },
    get operations(): number {
      return operations;
    },
    /** At full size a route that was never asked is a proof that was not made. */
    faults(): string[] {
      if (operations < enoughForEveryRoute) return [];
      return routes.filter(({ name }) => !asked.has(name)).map(({ name }) => `${name} was never asked`);
    },
    report(): Record<string, number | string> {
      const seconds = (performance.now() - (started ?? performance.now())) / 1000;
      return {
        'model operations': operations,
        cases,
        'HTTP requests': requests,
        'routes asked': `${asked.size} of ${routes.length}`,
        'answers by status': [...statuses]
          .sort(([a], [b]) => a - b)
          .map(([status, times]) => `${status}: ${times}`)
          .join(', '),
        'operations a second': Math.round(operations / Math.max(seconds, 0.001)),
      };
    },
  };
}
