/** The fixed texts of the deployment guide (G64, G68): a caller learns that a token is refused, never which check. */

import { type Problem, problem } from '../errors.ts';

export const tokenFaultTexts = {
  invalid: 'Invalid token',
  expired: 'Token expired',
  noUser: 'User ID not found in request',
} as const;

/** @param cause for the log alone */
export function tokenFault(kind: keyof typeof tokenFaultTexts, cause?: unknown): Problem {
  return problem('unauthenticated', tokenFaultTexts[kind], undefined, cause === undefined ? undefined : { cause });
}
