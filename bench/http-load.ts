/** Requests over HTTP, by autocannon, from this process to loopback. */
import autocannon, { type HttpRequest } from 'autocannon';
import {
  type BenchCaller,
  type BenchCallers,
  listLimit,
  type Measured,
  newTask,
  type Operation,
  Recorder,
} from './measurement.ts';

const stopLookMs = 50;

export function openHttp(url: string, callers: BenchCallers): Measured {
  const requests = {
    list: callers.readers.map((caller) => get(caller, `/api/tasks?limit=${listLimit}`)),
    read: callers.readers.flatMap((caller) => caller.taskIds.map((id) => get(caller, `/api/tasks/${id}`))),
    create: callers.writers.map((caller) => post(caller, '/api/tasks', newTask)),
  } satisfies Record<Operation, HttpRequest[]>;
  return {
    async measure(order) {
      let connection = 0;
      const recorder = new Recorder(order);
      const run = autocannon({
        url,
        connections: order.connections,
        duration: order.windowMs / 1000,
        sampleInt: stopLookMs,
        // Each connection goes round users of its own: ten that ask for the same rows at once would be too kind.
        setupClient: (client) => {
          const from = connection++;
          client.setRequests(requests[order.operation].filter((_, index) => index % order.connections === from));
        },
      });
      // autocannon's own histogram counts whole milliseconds; the event has what was measured.
      run.on('response', (_client: unknown, _status: number, _bytes: number, ms: number) => recorder.record(ms));
      const result = await run;
      if (result.errors + result.timeouts + result.non2xx > 0) {
        const { errors, timeouts, statusCodeStats } = result;
        const codes = Object.entries(statusCodeStats).map(([status, { count }]) => `${count} × ${status}`);
        throw new Error(`${order.operation}: ${errors} errors, ${timeouts} time-outs, answers: ${codes.join(', ')}`);
      }
      return recorder.sample();
    },
    close: async () => {},
  };
}

function get(caller: BenchCaller, path: string): HttpRequest {
  return { method: 'GET', path, headers: { authorization: `Bearer ${caller.token}` } };
}

function post(caller: BenchCaller, path: string, body: unknown): HttpRequest {
  return {
    method: 'POST',
    path,
    headers: { authorization: `Bearer ${caller.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
}
