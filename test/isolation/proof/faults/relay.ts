/**
 * Stands between the server's pool and Postgres, and can stop before any message of either: to cut the connection
 * there, to hold it up, or to put something in between.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { backendPid, Framing, type Message, type Side, simpleQuery, startupUser } from './messages.ts';

/** One connection through the relay. */
export interface Wire {
  readonly user: string;
  /** Of the backend at the other end; 0 until it has told. */
  readonly pid: number;
  readonly open: boolean;
  /** Ends both halves at once, as a cable that is pulled. */
  cut(): void;
}

/**
 * Nothing: the message goes on as it is. Other bytes go on in its place. A statement to slip in runs ahead of it, and the
 * server hears nothing of the answer; for messages of the server alone.
 */
export type Verdict = undefined | Buffer | { readonly slipIn: string };

/** Is shown each message before it goes on. Nothing goes on along a wire that it cut. */
export type Tap = (message: Message, wire: Wire) => Promise<Verdict> | Verdict;

export interface Relay {
  /** The same log-in and database, through the relay. */
  through(url: string): string;
  /** Where to connect to from now on, when Postgres has come back on another port. */
  aim(url: string): void;
  tap: Tap | undefined;
  readonly wires: ReadonlySet<Wire>;
  close(): Promise<void>;
}

/**
 * @param target whose host and port are connected to
 * @param rewrite changes what the server says, always; a tap sees the outcome
 */
export async function openRelay(target: string, rewrite?: (message: Message) => Buffer): Promise<Relay> {
  const wires = new Set<Wire>();
  let upstream = new URL(target);
  let tap: Tap | undefined;
  const server = createServer((socket) => {
    const wire = new Connection(socket, upstream, (message) => tap?.(message, wire), rewrite);
    wires.add(wire);
    wire.over.then(() => wires.delete(wire));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    through: (url) => Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).href,
    aim(url) {
      upstream = new URL(url);
    },
    get tap() {
      return tap;
    },
    set tap(next) {
      tap = next;
    },
    wires,
    async close() {
      for (const wire of wires) wire.cut();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Not by `once`, which fails when there is an error first. */
const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));

type Show = (message: Message) => ReturnType<Tap>;

class Connection implements Wire {
  user = '';
  pid = 0;
  readonly over: Promise<void>;
  readonly #halves: Record<Side, Socket>;
  readonly #show: Show;
  readonly #rewrite: ((message: Message) => Buffer) | undefined;
  /** Answers still to come until the one to what was slipped in, which is kept back. */
  #answersAhead = 0;
  #keptBack: number | undefined;

  constructor(server: Socket, upstream: URL, show: Show, rewrite?: (message: Message) => Buffer) {
    const postgres = connect({ host: upstream.hostname, port: Number(upstream.port) });
    this.#halves = { server, postgres };
    this.#show = show;
    this.#rewrite = rewrite;
    for (const socket of [server, postgres]) socket.setNoDelay(true).on('error', () => {});
    this.over = Promise.all([closed(server), closed(postgres)]).then(() => {});
    void this.#carry('server', 'postgres');
    void this.#carry('postgres', 'server');
  }

  get open(): boolean {
    return !this.#halves.server.destroyed && !this.#halves.postgres.destroyed;
  }

  cut(): void {
    this.#halves.server.destroy();
    this.#halves.postgres.destroy();
  }

  /** Reads on only when what was read has gone on: a message that is held holds everything behind it. */
  async #carry(from: Side, to: Side): Promise<void> {
    const framing = new Framing(from);
    try {
      for await (const chunk of this.#halves[from]) {
        const sent: Buffer[] = [];
        for (const read of framing.push(chunk)) {
          const message = from === 'server' && this.#rewrite ? { ...read, bytes: this.#rewrite(read) } : read;
          if (message.type === '') this.user = startupUser(message);
          this.pid = backendPid(message) ?? this.pid;
          if (this.#isKeptBack(message)) continue;
          const shown = this.#show(message);
          // What is ahead of a held message has to arrive meanwhile.
          if (shown instanceof Promise && sent.length > 0) this.#halves[to].write(Buffer.concat(sent.splice(0)));
          const verdict = await shown;
          if (!this.open) return;
          sent.push(...this.#passedOn(message, verdict));
        }
        if (sent.length > 0) this.#halves[to].write(Buffer.concat(sent));
      }
      this.#halves[to].end();
    } catch {
      this.cut();
    }
  }

  #passedOn({ side, type, bytes }: Message, verdict: Verdict): Buffer[] {
    const passed: Buffer[] = [];
    if (verdict !== undefined && !Buffer.isBuffer(verdict)) {
      this.#keptBack = this.#answersAhead;
      this.#answersAhead += 1;
      passed.push(simpleQuery(verdict.slipIn));
    }
    // Startup, query and sync are answered by one ReadyForQuery each, and nothing else is.
    if (side === 'server' && ['', 'Q', 'S'].includes(type)) this.#answersAhead += 1;
    passed.push(Buffer.isBuffer(verdict) ? verdict : bytes);
    return passed;
  }

  #isKeptBack({ side, type }: Message): boolean {
    if (side !== 'postgres') return false;
    const kept = this.#keptBack === 0;
    if (type === 'Z') {
      this.#answersAhead -= 1;
      if (this.#keptBack !== undefined) this.#keptBack = kept ? undefined : this.#keptBack - 1;
    }
    return kept;
  }
}
