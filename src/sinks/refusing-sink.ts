import { type Sink, SinkError } from './sink.ts';

/** A sink that takes nothing and says why: what this sidecar lacks to serve a stream of the cluster. */
export function refusingSink(reason: string): Sink {
  const refuse = (): Promise<never> => Promise.reject(new SinkError('refused', reason));
  return { openTablet: refuse, check: refuse, [Symbol.asyncDispose]: () => Promise.resolve() };
}
