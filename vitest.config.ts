import { defineConfig } from 'vitest/config';
import { setEnvironment } from './test/support/environment.ts';
import { LongestFirst } from './test/support/longest-first.ts';

setEnvironment();

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // For two processors: a test waits half its time, for Postgres, for locks, for processes.
    maxWorkers: 3,
    maxConcurrency: 2,
    sequence: { sequencer: LongestFirst },
    // Against what hangs, not against a busy machine.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    reporters: ['default'],
  },
});
