/** What a check found. Preflight, verify, monitor and doctor all speak in these, so that one printer serves them. */

/** `fail` must be put right (exit code 1), `warn` should be known, `pass` was looked at and is well. */
export type Severity = 'fail' | 'warn' | 'pass';

export interface Finding {
  readonly severity: Severity;
  /** The check's stable name, kebab-case: what a program matches on. */
  readonly check: string;
  /** The object it is about, as people write it: `public.tasks`, `role legacy_app`; absent for the whole database. */
  readonly object?: string;
  /** One sentence: what is so. */
  readonly message: string;
  /** What to do about it; always there with `fail` and `warn`. */
  readonly remedy?: string;
}

export function fail(check: string, object: string | undefined, message: string, remedy: string): Finding {
  return { severity: 'fail', check, ...(object === undefined ? {} : { object }), message, remedy };
}

export function warn(check: string, object: string | undefined, message: string, remedy: string): Finding {
  return { severity: 'warn', check, ...(object === undefined ? {} : { object }), message, remedy };
}

export function pass(check: string, object: string | undefined, message: string): Finding {
  return { severity: 'pass', check, ...(object === undefined ? {} : { object }), message };
}
