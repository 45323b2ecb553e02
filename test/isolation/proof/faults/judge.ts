/** What may come back of a request that was disturbed. */
import { problemKinds } from '../../../../src/errors.ts';
import type { WireAnswer } from '../model/client.ts';
import { normalAnswer } from './normal.ts';
import type { Actor, Stage } from './stage.ts';

export type Reply = WireAnswer | { readonly gone: string };

export const asReply = (sent: Promise<WireAnswer>): Promise<Reply> =>
  sent.catch((error: Error) => ({ gone: error.message }));

/** Problems that say it is not the request's fault. */
export const outage = ['database_unavailable', 'unavailable'];

/**
 * @param expected what is answered in an undisturbed world, in the normal form
 * @param problems codes that may be answered instead
 * @returns faults; a wrong answer is shown beside the right one
 */
export function judge(
  reply: Reply,
  expected: string,
  { stage, actor, problems }: { stage: Stage; actor: Actor; problems: readonly string[] },
): string[] {
  if ('gone' in reply) return [`no answer: ${reply.gone}`];
  const everything = `${JSON.stringify(reply.headers)}\n${reply.text}`;
  const foreign = stage.foreignIn(everything, actor);
  if (foreign.length > 0) return [`an answer with what is another's: ${foreign.join(', ')}\n${shown(everything)}`];
  const answer = normalAnswer(reply, actor);
  if (answer === expected) return [];
  const code = codeOf(reply);
  if (code !== undefined && problems.includes(code)) return [];
  return [`answered\n${shown(answer)}\n--- and in an undisturbed world\n${shown(expected)}`];
}

/** @returns the code of a clean problem, as the error table has it */
export function codeOf({ status, headers, text }: WireAnswer): string | undefined {
  if (!headers['content-type']?.startsWith('application/problem+json')) return undefined;
  const document: unknown = JSON.parse(text);
  if (typeof document !== 'object' || document === null || !('code' in document)) return undefined;
  const kind = Object.entries(problemKinds).find(([code]) => code === document.code);
  return kind?.[1].status === status ? kind[0] : undefined;
}

const charsMax = 600;
const shown = (text: string) => (text.length > charsMax ? `${text.slice(0, charsMax)} …` : text);
