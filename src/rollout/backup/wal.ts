/** Which WAL segments a base backup needs, by their names (manual, 28.6; XLogFileName in access/xlog_internal.h). */

/** 2^32 bytes of WAL share the middle eight digits of the name. */
const bytesPerLogId = 2 ** 32;

/**
 * Names of all segments from one to another, both included, on one timeline.
 *
 * @param segmentBytes wal_segment_size
 */
export function segmentsBetween(first: string, last: string, segmentBytes: number): string[] {
  const perLogId = bytesPerLogId / segmentBytes;
  const timeline = first.slice(0, 8);
  if (last.slice(0, 8) !== timeline) throw new Error(`the timeline changed between ${first} and ${last}`);
  const number = (name: string) =>
    Number.parseInt(name.slice(8, 16), 16) * perLogId + Number.parseInt(name.slice(16), 16);
  const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, '0');
  const names: string[] = [];
  for (let at = number(first); at <= number(last); at += 1) {
    names.push(`${timeline}${hex(Math.floor(at / perLogId))}${hex(at % perLogId)}`);
  }
  return names;
}

/** The segment where replay begins, as backup_label has it. */
export function firstSegment(backupLabel: string): string {
  const name = /^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$/m.exec(backupLabel)?.[1];
  if (name === undefined) throw new Error('pg_backup_stop() gave a label without a START WAL LOCATION');
  return name;
}
