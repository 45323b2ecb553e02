import { type Problem, problem } from '../errors.ts';

export interface FieldFault {
  /** The field as the caller wrote it, `metadata.a.0`; or the part of the request: `body`, `query`. */
  readonly field: string;
  /** What was wrong and what is allowed. */
  readonly message: string;
}

/** One refusal for all faults of a request: as a sentence, and as `errors` for programs. */
export function refusal(faults: readonly FieldFault[]): Problem {
  const detail = faults.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return problem('validation_failed', detail, { errors: faults });
}
