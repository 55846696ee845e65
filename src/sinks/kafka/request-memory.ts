import { MAX_REQUEST_BYTES } from './batch-planner.ts';

/** Below it Node's own pool and collector do as well. */
const WORTH_BYTES = 64 << 10;
/** A full request and what stands around its records. */
const BYTES = MAX_REQUEST_BYTES + (64 << 10);
/** As many as are on the way at a time, about. */
const MAX_SPARE = 4;

const spare: Buffer[] = [];

/**
 * Memory for a request. A large one lies outside of V8's heap, which knows that it is used up and not how soon it is free: it
 * collects garbage over and over for what a few buffers would do, given from one request to the next.
 */
export function takeRequestMemory(bytes: number): Buffer {
  if (bytes < WORTH_BYTES || bytes > BYTES) return Buffer.allocUnsafe(bytes);
  return spare.pop() ?? Buffer.allocUnsafeSlow(BYTES);
}

/** Only of a request that was answered: of any other, some of it may not have been sent yet. */
export function giveBackRequestMemory({ buffer }: Buffer): void {
  if (buffer.byteLength === BYTES && spare.length < MAX_SPARE) spare.push(Buffer.from(buffer));
}
