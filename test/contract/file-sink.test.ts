import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { FileSink } from '../../src/sinks/file/file-sink.ts';
import { LinkedAbort } from '../../src/util/linked-abort.ts';
import { SinkError, type Sink, type TabletWriter } from '../../src/sinks/sink.ts';
import { batches } from '../support/record-batches.ts';
import { mountSmall, unmount } from '../support/small-disk.ts';
import { recordsOfStream } from '../support/spoor-files.ts';
import { TabletLog } from './sink-sidecar.ts';
import { describeSink, positionAt, recordAt } from './sink.ts';

const root = mkdtempSync(join(tmpdir(), 'spoor-file-sink-'));
after(() => {
  rmSync(root, { recursive: true, force: true });
});

const losing = new Set<string>();

/** A process with a sink: once it has died, no further step reaches the disk. */
class Process implements Sink {
  readonly #writers: TabletWriter[] = [];
  readonly life = new AbortController();
  readonly #sink: FileSink;
  readonly #streamName: string;

  constructor(dir: string, streamName: string, rotateBytes: number) {
    this.#sink = new FileSink({ dir, rotateBytes, rotateSeconds: 60 }, 'installation');
    this.#streamName = streamName;
  }

  async openTablet(...[tablet, signal]: Parameters<Sink['openTablet']>): Promise<TabletWriter> {
    using alive = new LinkedAbort(signal, this.life.signal);
    const writer = await this.#sink.openTablet(tablet, alive.signal);
    this.#writers.push(writer); // the system closes what a dead process had open
    return {
      position: writer.position,
      sinkId: writer.sinkId!,
      write: async (batches, position, stop) => {
        using alive = new LinkedAbort(stop, this.life.signal);
        await writer.write(batches, position, alive.signal);
        if (losing.delete(this.#streamName)) throw new SinkError('unavailable', 'the answer was lost');
      },
      [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
    };
  }

  check(signal: AbortSignal): Promise<void> {
    return this.#sink.check(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer[Symbol.asyncDispose]()));
    await this.#sink[Symbol.asyncDispose]();
  }
}

for (const [name, rotateBytes] of [
  ['the file sink', 128 << 20],
  ['the file sink, with a file for each write or two', 1024],
] as const) {
  const dir = mkdtempSync(join(root, 'dir-'));
  describeSink(
    name,
    () => ({
      open: (streamName) => new Process(dir, streamName, rotateBytes),
      read: (streamName) => {
        const records = recordsOfStream(dir, streamName).filter(({ kind, table }) => !kind && table === 'shop.orders');
        return Promise.resolve(
          records.map(({ key, value, pos, ts }) => ({ key, value, position: pos, timestampMs: ts })),
        );
      },
      duringOutage: async (work) => {
        renameSync(dir, `${dir}.away`);
        try {
          await work();
        } finally {
          renameSync(`${dir}.away`, dir);
        }
      },
      kill: (sink) => {
        if (sink instanceof Process) sink.life.abort(new Error('killed'));
      },
      loseAnswer: (streamName) => void losing.add(streamName),
    }),
    { exactlyOnce: true, values: 'json', quickOutage: true },
  );
}

describe('a disk that is full', () => {
  it('is unavailable, keeps what was there, and goes on when there is room', async (t) => {
    const dir = mkdtempSync(join(root, 'full-'));
    const why = mountSmall(dir, 1);
    if (why !== null) {
      t.skip(why);
      return;
    }
    try {
      const filler = join(dir, 'filler');
      const log = new TabletLog('s');
      const sink = new FileSink({ dir, rotateBytes: 128 << 20, rotateSeconds: 60 }, 'i');
      const never = new AbortController().signal;
      const first = await sink.openTablet(log.tablet, never);
      await first.write(log.batches(null, 2), positionAt(2), never);
      writeFileSync(filler, Buffer.alloc(900 << 10));
      const wide = Buffer.from(`"${'x'.repeat(200 << 10)}"`);
      const isFull = (error: unknown): boolean =>
        error instanceof SinkError && error.kind === 'unavailable' && error.message.includes('no space is left');
      await assert.rejects(first.write(batches([recordAt(3, 3, { value: wide })]), positionAt(3), never), isFull);
      await first[Symbol.asyncDispose]();
      for (let attempt = 0; attempt < 20; attempt++) {
        const opened = await sink.openTablet(log.tablet, never).catch((error: unknown) => error);
        if (opened instanceof Error) assert.ok(isFull(opened), opened.message);
        else await (opened as TabletWriter)[Symbol.asyncDispose]();
      }
      rmSync(filler);
      await using writer = await sink.openTablet(log.tablet, never);
      assert.deepEqual(writer.position, positionAt(2));
      await writer.write(log.batches(writer.position, 5), positionAt(5), never);
      const seen = recordsOfStream(dir, 's').map(({ key, value, pos, ts }) => ({
        key,
        value,
        position: pos,
        timestampMs: ts,
      }));
      assert.deepEqual(seen, log.expected(5));
    } finally {
      unmount(dir);
    }
  });
});
