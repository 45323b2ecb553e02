import { afterEach, expect, test } from 'vitest';
import { part, runFrame } from './frame.ts';
import { alter, contextInVitest, defects } from './model/in-vitest.ts';
import { putFilterBack, takeFilterAway } from './model/owner-filter.ts';

const minutes = 60_000;
// One who acts: between several, what one of them sees of another ends a case before anything is touched.
const size = { cases: 60, steps: 120, users: 1, milliseconds: 60_000, shrink: false };

afterEach(putFilterBack);

test(
  'whatever a user does leaves every other user’s rows as they were',
  async () => {
    const { figures, faults } = await part.run(contextInVitest());
    expect(faults).toEqual([]);
    expect(figures['model operations']).toBeGreaterThan(150);
    expect(figures['hashes compared']).toBeGreaterThan(300);
  },
  3 * minutes,
);

test(
  'it can fail: a table without its policy and without the owner filter',
  async () => {
    takeFilterAway();
    const { faults } = await runFrame(contextInVitest(), { spoil: defects.openPolicy('labels'), size });
    expect(faults).toEqual([expect.stringMatching(/rows of others have changed: .* labels/)]);
  },
  3 * minutes,
);

test(
  'it can fail: something in the database that reaches across, and not through an answer',
  async () => {
    const { faults } = await runFrame(contextInVitest(), {
      spoil: alter(
        `create function reach_across() returns trigger language plpgsql security definer as
           $$ begin update labels set description = 'touched' where name = new.name and id <> new.id; return new; end $$`,
        'create trigger reach_across after insert on labels for each row execute function reach_across()',
      ),
      size,
    });
    expect(faults).toEqual([expect.stringMatching(/rows of others have changed: .* labels/)]);
  },
  3 * minutes,
);
