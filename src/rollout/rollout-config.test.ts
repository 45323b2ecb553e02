import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadRolloutConfig, type RolloutConfig } from './rollout-config.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringfence-config-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function load(file: string, text: string): Promise<RolloutConfig> {
  writeFileSync(join(directory, file), text);
  return loadRolloutConfig(file, directory);
}

test('limits that are not said are the usual ones, and null is none', async () => {
  const config = await load('limits.json', '{ "throttle": { "maxLagSeconds": 2.5, "maxProbeMs": null } }');
  expect(config.throttle).toEqual({
    maxLagSeconds: 2.5,
    maxWalMBPerSecond: null,
    maxProbeMs: null,
    maxDeadRatio: 3,
  });
  expect((await load('nothing.json', '{}')).throttle).toBeUndefined();
});

test('a program may say them', async () => {
  const config = await load('limits.ts', 'export default { throttle: { maxWalMBPerSecond: 4 * 10 } };');
  expect(config.throttle).toMatchObject({ maxWalMBPerSecond: 40, maxLagSeconds: 10 });
});

test('every fault is named, with what is allowed', async () => {
  const text = '{ "throttle": { "maxLagSeconds": 0, "maxProbeMs": "250", "maxLag": 3 }, "owners": {} }';
  await expect(load('faults.json', text)).rejects.toMatchObject({
    code: 'config_invalid',
    message: [
      'faults.json: throttle.maxLagSeconds: must be a number above 0, or null for no limit',
      'faults.json: throttle.maxProbeMs: must be a number above 0, or null for no limit',
      'faults.json: throttle: Unrecognized key: "maxLag"',
      'faults.json: the whole: Unrecognized key: "owners"',
    ].join('\n'),
  });
});
