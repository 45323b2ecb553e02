import { afterEach, expect, test } from 'vitest';
import { alter, contextInVitest, defects } from './model/in-vitest.ts';
import { putFilterBack, takeFilterAway } from './model/owner-filter.ts';
import { part, runTwin } from './twin.ts';

const minutes = 60_000;
const below = { cases: 1, steps: 1, crowd: 100, milliseconds: 60_000, shrink: false };
const above = { cases: 60, steps: 100, crowd: 100, milliseconds: 60_000, shrink: false };

afterEach(putFilterBack);

test(
  'a user cannot tell two worlds apart that differ in the rest alone',
  async () => {
    const { figures, faults } = await part.run(contextInVitest());
    expect(faults).toEqual([]);
    expect(figures['model operations']).toBeGreaterThan(100);
    expect(figures['statements below HTTP, in each world']).toBeGreaterThan(800);
  },
  3 * minutes,
);

test.each([
  ['a policy that lets everything through', defects.openPolicy('labels'), 'labels'],
  ['a table whose row level security is off', alter(`alter table rules disable row level security`), 'rules'],
])(
  'it can fail below HTTP, where the owner filter does not reach: %s',
  async (_, spoil, table) => {
    const { faults } = await runTwin(contextInVitest(), { spoil, size: below });
    expect(faults.length).toBeGreaterThan(1);
    for (const fault of faults) expect(fault).toContain(table);
  },
  3 * minutes,
);

test(
  'it can fail below HTTP: a primary key without the owner',
  async () => {
    const spoil = alter('create unique index rules_id on rules (id)');
    const { faults } = await runTwin(contextInVitest(), { spoil, size: below, worlds: ['guessed'] });
    expect(faults.join('\n')).toContain('duplicate key value violates unique constraint \\"rules_id\\"');
  },
  3 * minutes,
);

test(
  'it can fail through HTTP: a table without its policy and without the owner filter',
  async () => {
    takeFilterAway();
    const { faults } = await runTwin(contextInVitest(), {
      spoil: defects.openPolicy('agents'),
      size: above,
      worlds: ['guessed'],
    });
    expect(faults.at(-1)).toMatch(/differs:.*--- nobody else.*--- guessed/s);
  },
  3 * minutes,
);
