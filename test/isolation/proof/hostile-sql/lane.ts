/** Two connections, one to each world, through which the same attempts go side by side. */
import { opening } from '../../../../src/isolation/connection.ts';
import { deriveIdentityKey, mintIdentity } from '../../../../src/isolation/identity.ts';
import { testSecret } from '../../../support/templates.ts';
import type { Attempt } from './families.ts';
import { decode, type Trace, withoutChance } from './trace.ts';
import { type Sent, Wire } from './wire.ts';
import { attacker, type Marks, type Worlds } from './worlds.ts';

const timeoutMs = 3000;
const key = deriveIdentityKey(testSecret);

interface Seen {
  readonly bytes: Buffer;
  readonly trace: () => Trace;
}

export interface Observation {
  readonly one: Seen;
  readonly other: Seen;
  /** What of others' stood in an answer. */
  readonly canary: string | undefined;
  readonly equal: boolean;
}

/** 57014 cancelled by a timeout, 55P03 no lock in time, 40P01 a deadlock: how long a thing takes is chance. */
const chancy = ['57014', '55P03', '40P01'];

/** Also where both worlds were cut short alike: what they would have answered has not been seen. */
export const isChancy = ({ one, other }: Observation): boolean =>
  [one, other].some(({ bytes }) => chancy.some((state) => bytes.includes(`\0C${state}\0`)));

export class Lane {
  readonly worlds: Worlds;
  #wires: [Wire, Wire];

  private constructor(worlds: Worlds, wires: [Wire, Wire]) {
    this.worlds = worlds;
    this.#wires = wires;
  }

  static async open(worlds: Worlds): Promise<Lane> {
    return new Lane(worlds, await connectBoth(worlds));
  }

  /** A connection that ended was a statement's doing or the server's fall. */
  get lost(): boolean {
    return this.#wires.some((wire) => wire.ended);
  }

  async attempt(attempt: Attempt): Promise<Observation> {
    if (this.lost) {
      await this.close();
      this.#wires = await connectBoth(this.worlds);
    }
    const [one, other] = await Promise.all(
      this.#wires.map((wire, i) => send(wire, this.worlds.both[i]?.database ?? '', attempt)),
    );
    if (one === undefined || other === undefined) throw new Error('a world is missing');
    const canary = findCanary(one.bytes, this.worlds.marks) ?? findCanary(other.bytes, this.worlds.marks);
    const equal = one.bytes.equals(other.bytes);
    return { one, other, canary, equal };
  }

  async close(): Promise<void> {
    await Promise.all(this.#wires.map((wire) => wire.end()));
  }
}

async function connectBoth(worlds: Worlds): Promise<[Wire, Wire]> {
  const options = `-c statement_timeout=${timeoutMs} -c lock_timeout=${timeoutMs}`;
  const [one, other] = await Promise.all(worlds.both.map(({ appUrl }) => Wire.connect(appUrl, options)));
  if (one === undefined || other === undefined) throw new Error('a world is missing');
  return [one, other];
}

async function send(wire: Wire, database: string, attempt: Attempt): Promise<Seen> {
  const identity = mintIdentity(key, attacker, wire.pid, Date.now() + wire.clockOffsetMs);
  const before: Sent[] = [
    // As in the server: what one attempt leaves behind meets the next as it would there.
    { sql: opening('read write', wire), protocol: 'simple' },
    {
      sql: "select set_config('ringfence.identity', $1, true), ringfence.current_user_id()",
      protocol: 'extended',
      parameters: [identity],
    },
  ];
  const bytes = await wire.run(
    [...before, ...attempt.statements, { sql: attempt.ending, protocol: 'simple' }],
    before.length,
  );
  let trace: Trace | undefined;
  return {
    bytes,
    trace: () => {
      trace ??= withoutChance(decode(bytes), { pid: wire.pid, databaseOid: wire.databaseOid, database });
      return trace;
    },
  };
}

function findCanary(bytes: Buffer, marks: Marks): string | undefined {
  for (const mark of [marks.text, marks.id, marks.key]) {
    const at = bytes.indexOf(mark);
    if (at >= 0)
      return bytes
        .subarray(Math.max(0, at - 20), at + 60)
        .toString()
        .replaceAll('\0', ' ');
  }
  return undefined;
}
