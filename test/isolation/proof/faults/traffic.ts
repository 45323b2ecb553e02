/** Users who make things all the time, whatever happens, and send again what was not answered. */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { WireAnswer } from '../model/client.ts';
import { asReply, codeOf, outage } from './judge.ts';
import type { Actor, Call, Stage } from './stage.ts';

export interface Traffic {
  /** Answers so far: of something made for the first time, and of what was sent again. */
  readonly made: number;
  readonly sentAgain: number;
  /** Resolves when each user has had so many further answers. */
  more(answers: number): Promise<void>;
  /** @returns faults: everything that was answered is there once, and nothing of another's was shown */
  stop(): Promise<string[]>;
}

type Send = (actor: Actor, call: Call) => Promise<WireAnswer>;

const list = z.object({ items: z.array(z.object({ name: z.string() })) });
const retryMs = 40;
const patienceMs = 60_000;

export function startTraffic(stage: Stage, send: Send): Traffic {
  const tally = { made: 0, sentAgain: 0 };
  const faults: string[] = [];
  let stopping = false;

  /** Sends the same until it is answered. */
  async function insist(actor: Actor, call: Call): Promise<WireAnswer> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const reply = await asReply(send(actor, call));
      if ('status' in reply) {
        const foreign = stage.foreignIn(`${JSON.stringify(reply.headers)}${reply.text}`, actor);
        if (foreign.length > 0) faults.push(`${call.method} ${call.target} showed ${foreign.join(', ')}`);
        if (reply.status < 300) return reply;
        const code = codeOf(reply);
        if (code === undefined || !outage.includes(code)) {
          throw new Error(`${call.method} ${call.target} is answered ${reply.status} ${reply.text}`);
        }
      }
      if (performance.now() > deadline) throw new Error(`nobody answers ${call.method} ${call.target} any more`);
      tally.sentAgain += 1;
      await delay(retryMs);
    }
  }

  const names = (actor: Actor) => async () => {
    const reply = await insist(actor, { method: 'GET', target: '/api/labels?limit=100', body: undefined });
    return list.parse(JSON.parse(reply.text)).items.map(({ name }) => name);
  };

  async function make(actor: Actor): Promise<void> {
    const made: string[] = [];
    while (!stopping && made.length < labelsMax) {
      const name = `${actor.mark} ${made.length}`;
      const headers = { 'idempotency-key': name };
      await insist(actor, { method: 'POST', target: '/api/labels', body: JSON.stringify({ name }), headers });
      made.push(name);
      tally.made += 1;
    }
    // The planted one is called as the mark alone.
    const found = (await names(actor)()).filter((name) => name !== actor.mark).toSorted();
    if (found.join() !== made.toSorted().join()) {
      faults.push(`${made.length} labels were answered, and there are ${found.length}: ${found.join(', ')}`);
    }
  }

  const working = Promise.all(stage.pair.map(make)).catch((error: Error) => void faults.push(error.message));
  return {
    get made() {
      return tally.made;
    },
    get sentAgain() {
      return tally.sentAgain;
    },
    async more(answers) {
      const goal = tally.made + answers;
      const deadline = performance.now() + patienceMs;
      while (tally.made < goal && performance.now() < deadline) await delay(2);
    },
    async stop() {
      stopping = true;
      await working;
      return faults;
    },
  };
}

/** A page of the list. */
const labelsMax = 95;
