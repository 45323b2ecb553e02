/** Something happens to a connection at one place of the conversation: before one of its messages goes on. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Message, type Side, sqlOf } from './messages.ts';
import type { Tap, Verdict, Wire } from './relay.ts';
import type { Stage } from './stage.ts';

export const strikeKinds = ['cut', 'kill', 'cancel', 'gone', 'stall', 'abort'] as const;
/**
 * The connection is cut; the backend is killed; its statement is cancelled; the client goes away; everything is held up;
 * the transaction is aborted behind the server's back.
 */
export type StrikeKind = (typeof strikeKinds)[number];

export interface Place {
  readonly side: Side;
  /** Among that side's messages of the transaction. */
  readonly index: number;
  /**
   * At the next one from there that begins a statement: a connection that has the statement prepared already sends one
   * message less, so that the same index falls inside another statement.
   */
  readonly between?: true;
}

export interface Conversation {
  readonly messages: Record<Side, number>;
  /** Messages of the server ahead of which a statement can be slipped in: nothing of the one before is open. */
  readonly between: readonly number[];
}

export interface Armed {
  /** Resolves once the conversation has begun. */
  readonly begun: Promise<void>;
  /** Whether the place was reached. */
  readonly struck: () => boolean;
  /** Whether the COMMIT had gone on to Postgres before. */
  readonly committing: () => boolean;
  /** Lets go of the relay. */
  end(): Conversation;
}

const stallMs = 4;

/**
 * Watches the next transaction of the application's role, and strikes in it.
 *
 * @param from its first message, or that of its connection
 */
export function arm(
  stage: Stage,
  from: 'transaction' | 'connection',
  place?: Place,
  strike?: (wire: Wire) => Promise<Verdict> | Verdict,
): Armed {
  const messages = { server: 0, postgres: 0 };
  const between: number[] = [];
  let [struck, committing, open] = [false, false, false];
  let transactions = 0;
  let victim: Wire | undefined;
  let found = () => {};
  const begun = new Promise<void>((resolve) => {
    found = resolve;
  });
  const begins = (message: Message) => (from === 'connection' ? message.type === '' : isBegin(message));
  const tap: Tap = (message, wire) => {
    if (wire.user !== 'ringfence_app') return undefined;
    if (victim === undefined && begins(message)) {
      victim = wire;
      found();
    }
    if (wire !== victim) return undefined;
    if (isBegin(message)) transactions += 1;
    // The connection is somebody else's now.
    if (transactions > 1) return undefined;
    const index = messages[message.side]++;
    const here = !struck && place?.side === message.side && isAt(place, index, open);
    if (message.side === 'server') {
      if (!open) between.push(index);
      open = message.type !== 'Q' && message.type !== 'S';
    }
    if (here) struck = true;
    const verdict = here ? strike?.(wire) : undefined;
    if (/^commit/.test(sqlOf(message)) && (!struck || wire.open)) committing = true;
    return verdict;
  };
  stage.relay.tap = tap;
  return {
    begun,
    struck: () => struck,
    committing: () => committing,
    end() {
      stage.relay.tap = undefined;
      return { messages, between };
    },
  };
}

/** @param open a statement whose messages have not all come */
const isAt = (place: Place, index: number, open: boolean) =>
  place.between ? index >= place.index && !open : index === place.index;

const isBegin = (message: Message) => /^begin/.test(sqlOf(message));

/** @param leave makes the client go away @param other resolves when the other user has been answered */
export function strikeWith(kind: StrikeKind, stage: Stage, leave: () => void, other: () => Promise<unknown>) {
  const { database } = stage.world;
  return async (wire: Wire): Promise<Verdict> => {
    switch (kind) {
      case 'cut':
        wire.cut();
        return undefined;
      case 'kill':
        await database.query('select pg_terminate_backend($1, 5000)', [wire.pid]);
        return undefined;
      case 'cancel':
        await database.query('select pg_cancel_backend($1)', [wire.pid]);
        return undefined;
      case 'gone':
        leave();
        return undefined;
      case 'stall':
        // With a connection to spare the other user is served meanwhile.
        await (stage.poolSize === 1 || stage.pooled ? delay(stallMs) : other());
        return undefined;
      case 'abort':
        return { slipIn: 'select 1 / 0' };
    }
  };
}
