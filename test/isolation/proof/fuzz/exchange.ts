/** A connection of its own for bytes that may be no HTTP at all: everything that comes back, until somebody hangs up. */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { deadlineMs, readAnswer, type WireAnswer } from './wire.ts';

export interface Exchange {
  /** Written one after the other, as packets of their own. */
  readonly pieces: readonly Uint8Array[];
  /** Milliseconds between two pieces. */
  readonly pauseMs?: number;
  /** Goes away at once, without having read; otherwise it waits until the server is quiet or hangs up. */
  readonly leaves?: boolean;
}

export interface Exchanged {
  readonly answers: readonly WireAnswer[];
  readonly malformed: boolean;
  /** The server neither answered nor hung up. */
  readonly hung: boolean;
}

/** After an answer: if nothing more comes, nothing more is coming. */
const quietMs = 250;

export async function exchange(url: string, { pieces, pauseMs = 0, leaves = false }: Exchange): Promise<Exchanged> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) }).setNoDelay(true);
  const chunks: Buffer[] = [];
  let hung = false;
  let quiet: NodeJS.Timeout | undefined;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    clearTimeout(quiet);
    // On a busy machine the rest of an answer, or the answer behind "100 Continue", takes longer than this.
    quiet = setTimeout(() => {
      const { answers, malformed } = answersIn(Buffer.concat(chunks));
      if (answers.length > 0 && !malformed) socket.destroy();
    }, quietMs);
  });
  const late = setTimeout(() => {
    hung = true;
    socket.destroy();
  }, deadlineMs);
  for (const piece of pieces) {
    if (socket.destroyed) break;
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
    if (pauseMs > 0) await delay(pauseMs);
  }
  if (leaves) socket.destroy();
  await closed;
  clearTimeout(late);
  clearTimeout(quiet);
  return { ...answersIn(Buffer.concat(chunks)), hung };
}

function answersIn(bytes: Buffer): Pick<Exchanged, 'answers' | 'malformed'> {
  const answers: WireAnswer[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const found = readAnswer(rest, 'GET', true);
    if (found === 'malformed' || found === undefined) return { answers, malformed: true };
    if (found.answer.status >= 200) answers.push(found.answer);
    rest = found.rest;
  }
  return { answers, malformed: false };
}
