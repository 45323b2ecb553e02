import { type BenchCaller, type BenchCallers, type MeasureOrder, Recorder, type Sample } from './measurement.ts';

/** As many loops as connections, each going round callers of its own, one call at a time. */
export async function inLoops(
  order: MeasureOrder,
  callers: BenchCallers,
  call: (loop: number, caller: BenchCaller, turn: number) => Promise<unknown>,
): Promise<Sample> {
  const group = order.operation === 'create' ? callers.writers : callers.readers;
  const recorder = new Recorder(order);
  const loop = async (number: number) => {
    const own = group.filter((_, index) => index % order.connections === number);
    for (let turn = 0; recorder.running; turn++) {
      const caller = own[turn % own.length];
      if (!caller) throw new Error('more connections than callers');
      const started = performance.now();
      await call(number, caller, Math.floor(turn / own.length));
      recorder.record(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: order.connections }, (_, number) => loop(number)));
  return recorder.sample();
}
