import { expect, inject, test } from 'vitest';
import { createDatabase, statement } from './postgres.ts';

test('databases of two files do not meet, and are gone after drop', async () => {
  const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
  await statement(one.url, 'create table seen (id int)');
  await expect(statement(other.url, 'select * from seen')).rejects.toMatchObject({ code: '42P01' });
  await Promise.all([one.drop(), other.drop()]);
  const left = await statement(
    inject('postgres').url,
    `select from pg_database where datname in ('${one.name}', '${other.name}')`,
  );
  expect(left.rowCount).toBe(0);
});

test('an unknown template is named', async () => {
  await expect(createDatabase('nonsense')).rejects.toThrow('no template is called nonsense');
});
