/** What a step will cost, scaled from the same measurements as preflight's. Estimates, never promises. */
import { type Catalog, type Table, tableOf } from './catalog.ts';
import type { Action, Estimate, Step } from './plan.ts';
import { estimateTable } from './preflight/estimate.ts';

/** A short transaction of catalogue entries; measured 12 to 37 ms, most of it waiting for the disk. */
const metadataMs = 20;
const nothing: Estimate = { milliseconds: 0, walBytes: 0 };

export function estimateStep(step: Step, catalog: Catalog): Estimate {
  if (step.up === null) return nothing;
  const table = step.table === null ? undefined : catalog.tables.get(step.table);
  return ofAction(step.up, table, catalog);
}

function ofAction(action: Action, table: Table | undefined, catalog: Catalog): Estimate {
  switch (action.kind) {
    case 'backfill': {
      const { backfillMs, walBytes } = estimateTable(tableOf(catalog, action.sweep.table));
      return { milliseconds: backfillMs, walBytes };
    }
    case 'index':
      return table === undefined ? nothing : ofIndex(table);
    case 'validate':
    case 'check':
      return { milliseconds: table === undefined ? metadataMs : scanMs(table), walBytes: 0 };
    case 'reconcile':
    case 'shadow': {
      const labels = action.kind === 'shadow' ? action.tables.map((t) => t.table) : action.sweeps.map((s) => s.table);
      const scans = labels.map((label) => scanMs(tableOf(catalog, label)));
      return { milliseconds: scans.reduce((sum, ms) => sum + ms, 0), walBytes: 0 };
    }
    case 'sql':
    case 'dropIndex':
    case 'saveOwners':
      return { milliseconds: metadataMs, walBytes: 0 };
  }
}

/** One of those that estimateTable() counts together. */
function ofIndex(table: Table): Estimate {
  const { indexMs } = estimateTable(table);
  const indexes = 1 + table.indexes.filter((index) => index.unique).length + table.foreignKeys.length;
  return { milliseconds: Math.ceil(indexMs / indexes), walBytes: 0 };
}

/** VALIDATE of 2 million rows: 344 ms. */
function scanMs(table: Table): number {
  return metadataMs + Math.ceil((Math.max(table.rows, 0) * 344) / 2_000_000);
}
