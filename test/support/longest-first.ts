import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

/** Whole rollouts take minutes and wait half of that: begun last, they would be waited for with a processor idle. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => moduleId.includes('/test/rollout/');
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}
