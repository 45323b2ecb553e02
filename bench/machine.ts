/** The machine the figures are from, without anything that names it. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import pg from 'pg';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
  /** Over 1, 5 and 15 minutes, before anything was started. */
  readonly loadAverage: readonly number[];
}

export function loadBefore(): number[] {
  return loadavg().map((load) => Math.round(load * 100) / 100);
}

export async function describeMachine(ownerUrl: string, loadAverage: readonly number[]): Promise<Machine> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ server_version: string }>('show server_version');
    return {
      cpu: cpuModel(),
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${process.platform} ${process.arch}`,
      node: process.version,
      postgres: rows[0]?.server_version ?? 'unknown',
      loadAverage,
    };
  } finally {
    await client.end();
  }
}

function cpuModel(): string {
  const model = cpus()[0]?.model.trim();
  if (model && model !== 'unknown') return model;
  try {
    return /^model name\s*:\s*(.+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
