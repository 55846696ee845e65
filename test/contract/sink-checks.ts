import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Sink, SinkError, type SinkErrorKind, type SinkTablet, type TabletWriter } from '../../src/sinks/sink.ts';
import type { SinkPromises } from './sink-kit.ts';
import { never, type SeenRecord } from './sink-records.ts';

const BACK_WITHIN_MS = 60_000;
const TRY_AGAIN_MS = 5;

/** Each of the operations 1 .. `last` is there, in order for each key; once where that is promised. */
export function assertComplete(
  seen: readonly SeenRecord[],
  last: number,
  promises: Pick<SinkPromises, 'exactlyOnce'>,
): void {
  const indexes = seen.map((record) => Number(record.position.split('.')[1]));
  assert.deepEqual(
    [...new Set(indexes)].sort((a, b) => a - b),
    Array.from({ length: last }, (_, i) => i + 1),
  );
  if (promises.exactlyOnce) assert.equal(indexes.length, last, `each once, but got ${indexes.join(' ')}`);
  const highest = new Map<string, number>();
  for (const [i, { key }] of seen.entries()) {
    const before = highest.get(key) ?? 0;
    // A repeat goes back and comes forward again; the last word is the newest.
    if (promises.exactlyOnce) assert.ok(indexes[i]! > before, `key ${key}: ${indexes[i]} behind ${before}`);
    highest.set(key, indexes[i]!);
  }
  for (const [key, index] of highest)
    assert.equal(index, Math.max(...indexes.filter((_, i) => seen[i]!.key === key)), `key ${key} ends with its newest`);
}

export function isOfKind(error: unknown, kind: SinkErrorKind): error is SinkError {
  return error instanceof SinkError && error.kind === kind;
}

export async function assertFenced(work: Promise<unknown>): Promise<void> {
  await assertKind('fenced', work);
}

export async function assertUnavailable(work: Promise<unknown>): Promise<void> {
  await assertKind('unavailable', work);
}

async function assertKind(kind: SinkErrorKind, work: Promise<unknown>): Promise<void> {
  const outcome = await work.then(
    () => 'it resolved',
    (error: unknown) => (isOfKind(error, kind) ? kind : error),
  );
  if (outcome instanceof Error) assert.fail(`must reject as ${kind}, but rejected with ${outcome.stack}`);
  assert.equal(outcome, kind, `must reject as ${kind}`);
}

/** @throws {AssertionError} it takes longer; what it comes to then nobody learns */
export async function assertWithin<T>(ms: number, what: string, work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new assert.AssertionError({ message: `${what} within ${ms} ms` }));
    }, ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** As the core does: again and again while it is unavailable. */
export async function openWhenBack(sink: Sink, tablet: SinkTablet): Promise<TabletWriter> {
  for (const deadline = performance.now() + BACK_WITHIN_MS; ;) {
    try {
      return await sink.openTablet(tablet, never);
    } catch (error) {
      if (!(error instanceof SinkError) || error.kind === 'refused' || performance.now() > deadline) throw error;
      await sleep(TRY_AGAIN_MS);
    }
  }
}
