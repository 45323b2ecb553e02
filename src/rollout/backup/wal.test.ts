import { expect, test } from 'vitest';
import { firstSegment, segmentsBetween } from './wal.ts';

test('names run on from one log id to the next', () => {
  expect(segmentsBetween('0000000200000001000000FE', '000000020000000200000001', 16 * 1024 * 1024)).toEqual([
    '0000000200000001000000FE',
    '0000000200000001000000FF',
    '000000020000000200000000',
    '000000020000000200000001',
  ]);
  expect(segmentsBetween('000000010000000000000003', '000000010000000100000000', 2 ** 30)).toEqual([
    '000000010000000000000003',
    '000000010000000100000000',
  ]);
  expect(() => segmentsBetween('000000010000000000000003', '000000020000000000000004', 2 ** 24)).toThrow('timeline');
});

test('the label says where replay begins', () => {
  const label = 'START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\nCHECKPOINT LOCATION: 0/3000060\n';
  expect(firstSegment(label)).toBe('000000010000000000000003');
  expect(() => firstSegment('')).toThrow('START WAL LOCATION');
});
