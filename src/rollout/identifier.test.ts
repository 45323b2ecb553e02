import { expect, test } from 'vitest';
import { derivedName, identifier, literal } from './identifier.ts';

test.each([
  ['tasks', 'tasks'],
  ['idx_tasks_user_id', 'idx_tasks_user_id'],
  ['user', '"user"'],
  ['current_user', '"current_user"'],
  ['Order', '"Order"'],
  ['a"b', '"a""b"'],
  ['with space', '"with space"'],
  ['1st', '"1st"'],
  ['überall', '"überall"'],
])('%s is written %s', (name, sql) => {
  expect(identifier(name)).toBe(sql);
});

test('a literal ends nothing early', () => {
  expect(literal("it's")).toBe("'it''s'");
});

test('a derived name fits, and two long ones stay two', () => {
  const long = 'x'.repeat(63);
  expect(derivedName('idx', 'tasks', 'user_id')).toBe('idx_tasks_user_id');
  const one = derivedName('ringfence', `${long}a`);
  const other = derivedName('ringfence', `${long}b`);
  expect(Buffer.byteLength(one)).toBeLessThanOrEqual(63);
  expect(one).not.toBe(other);
});

test('a derived name is cut between characters', () => {
  const name = derivedName('ringfence', 'ä'.repeat(40));
  expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
  expect(name).toMatch(/^ringfence_ä+_[0-9a-f]{8}$/);
});
