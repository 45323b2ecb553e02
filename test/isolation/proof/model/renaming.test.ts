import { expect, test } from 'vitest';
import { Renaming } from './renaming.ts';

const [a, b, c] = [1, 2, 3].map((n) => `0190abcd-0000-7000-8000-00000000000${n}`) as [string, string, string];
const now = new Date();
const soon = new Date(now.getTime() + 1_000);
const same = (left: string, right: string) => new Renaming().apply(left) === new Renaming().apply(right);

test('traces of one shape are equal whatever their names are', () => {
  expect(same(`{"id":"${a}","of":"${b}"}`, `{"id":"${c}","of":"${a}"}`)).toBe(true);
  expect(same(now.toISOString(), soon.toISOString())).toBe(true);
});

test('what is equal to what is told apart, and so is order', () => {
  expect(same(`${a} ${b} ${a}`, `${a} ${b} ${b}`)).toBe(false);
  expect(same(`${a} ${b} ${a} ${b}`, `${a} ${b} ${b} ${a}`)).toBe(false);
  expect(same(`${now.toISOString()} ${now.toISOString()}`, `${now.toISOString()} ${soon.toISOString()}`)).toBe(false);
});

test('a token was used at some moment, whichever: to the millisecond it may be any', () => {
  const used = (at: Date) => `{"created_at":"${now.toISOString()}","last_used_at":"${at.toISOString()}"}`;
  expect(same(used(now), used(soon))).toBe(true);
  expect(same(used(now), used(now).replace(/"last_used_at":"[^"]+"/, '"last_used_at":null'))).toBe(false);
});

test('moments that the caller gave are compared as they are', () => {
  expect(same('2150-01-01T00:00:00Z', '2150-01-01T00:00:01Z')).toBe(false);
});

test('one moment is one name, however it is spelt', () => {
  const renaming = new Renaming();
  const spelt = renaming.apply(now.toISOString());
  expect(renaming.apply(now.toISOString().replace('T', ' ').replace('Z', '+00'))).toBe(spelt);
});

test('cursors are opened: their order and what they point at count', () => {
  const cursor = (sort: string, id: string) =>
    `"next_cursor":"${Buffer.from(JSON.stringify([sort, now.toISOString(), id])).toString('base64url')}"`;
  expect(same(cursor('name', a), cursor('name', b))).toBe(true);
  expect(same(cursor('name', a), cursor('-name', a))).toBe(false);
  expect(same(`${a} ${b} ${cursor('name', a)}`, `${a} ${b} ${cursor('name', b)}`)).toBe(false);
});

test('tokens are compared by the ids in them, not by their secrets', () => {
  const token = (user: string, secret: number) =>
    `rft_${Buffer.concat([Buffer.from((user + a).replaceAll('-', ''), 'hex'), Buffer.alloc(32, secret)]).toString('base64url')}`;
  expect(same(`${a} ${b} ${token(b, 1)}`, `${a} ${b} ${token(b, 2)}`)).toBe(true);
  expect(same(`${a} ${b} ${token(b, 1)}`, `${a} ${b} ${token(a, 1)}`)).toBe(false);
});

test('a name of one trace is sent as its counterpart of the other', () => {
  const [here, there] = [new Renaming(), new Renaming()];
  here.apply(`${a} ${b}`);
  there.apply(`${b} ${c}`);
  expect(here.translate(`/x/${b}?y=${a.toUpperCase()}`, there)).toBe(`/x/${c}?y=${b.toUpperCase()}`);
  expect(here.translate(`/x/${c}`, there)).toBe(`/x/${c}`);
});
