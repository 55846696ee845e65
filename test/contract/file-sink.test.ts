import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { RecordBatch } from '../../src/change/record-batch.ts';
import { FileSink } from '../../src/sinks/file/file-sink.ts';
import { LinkedAbort } from '../../src/util/linked-abort.ts';
import { SinkError, type Sink, type TabletWriter } from '../../src/sinks/sink.ts';
import type { Container } from '../../src/sinks/file/names.ts';
import { avroBatches, indexOf } from '../support/avro-batches.ts';
import { avroRecordsOfStream } from '../support/avro-files.ts';
import { batches } from '../support/record-batches.ts';
import { mountSmall, unmount } from '../support/small-disk.ts';
import { recordsOfStream } from '../support/spoor-files.ts';
import { TabletLog } from './sink-sidecar.ts';
import { describeSink, positionAt, recordAt, type SeenRecord } from './sink.ts';

const root = mkdtempSync(join(tmpdir(), 'spoor-file-sink-'));
after(() => {
  rmSync(root, { recursive: true, force: true });
});

function linesOfStream(dir: string, streamName: string): readonly SeenRecord[] {
  const rows = recordsOfStream(dir, streamName).filter(({ kind, table }) => !kind && table === 'shop.orders');
  return rows.map(({ key, value, pos, ts }) => ({ key, value, position: pos, timestampMs: ts }));
}

const losing = new Set<string>();

/** A process with a sink: once it has died, no further step reaches the disk. */
class Process implements Sink {
  readonly #writers: TabletWriter[] = [];
  readonly life = new AbortController();
  readonly #sink: FileSink;
  readonly #container: Container;
  readonly #streamName: string;

  constructor(dir: string, streamName: string, rotateBytes: number, container: Container) {
    this.#container = container;
    this.#sink = new FileSink({ dir, rotateBytes, rotateSeconds: 60 }, 'installation', container);
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
        // The table is altered now and then, also in the midst of a write.
        const written = this.#container === 'avro' ? avroBatches(batches, (record) => indexOf(record) >> 4) : batches;
        await writer.write(written, position, alive.signal);
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

for (const [name, rotateBytes, container] of [
  ['the file sink', 128 << 20, 'lines'],
  ['the file sink, with a file for each write or two', 1024, 'lines'],
  ['the file sink in Avro, with a file for each few writes', 8192, 'avro'],
] as const) {
  const dir = mkdtempSync(join(root, 'dir-'));
  describeSink(
    name,
    () => ({
      open: (streamName) => new Process(dir, streamName, rotateBytes, container),
      read: (streamName) => {
        if (container === 'avro') return avroRecordsOfStream(dir, streamName);
        return Promise.resolve(linesOfStream(dir, streamName));
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

for (const container of ['lines', 'avro'] as const)
  describe(`a disk that is full, with files of ${container}`, () => {
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
        const sink = new FileSink({ dir, rotateBytes: 128 << 20, rotateSeconds: 60 }, 'i', container);
        const made = (given: Iterable<RecordBatch>): Iterable<RecordBatch> =>
          container === 'avro' ? avroBatches(given) : given;
        const never = new AbortController().signal;
        const first = await sink.openTablet(log.tablet, never);
        await first.write(made(log.batches(null, 2)), positionAt(2), never);
        writeFileSync(filler, Buffer.alloc(900 << 10));
        const wide = Buffer.from(`"${'x'.repeat(200 << 10)}"`);
        const isFull = (error: unknown): boolean =>
          error instanceof SinkError && error.kind === 'unavailable' && error.message.includes('no space is left');
        await assert.rejects(
          first.write(made(batches([recordAt(3, 3, { value: wide })])), positionAt(3), never),
          isFull,
        );
        await first[Symbol.asyncDispose]();
        for (let attempt = 0; attempt < 20; attempt++) {
          const opened = await sink.openTablet(log.tablet, never).catch((error: unknown) => error);
          if (opened instanceof Error) assert.ok(isFull(opened), opened.message);
          else await (opened as TabletWriter)[Symbol.asyncDispose]();
        }
        rmSync(filler);
        await using writer = await sink.openTablet(log.tablet, never);
        assert.deepEqual(writer.position, positionAt(2));
        await writer.write(made(log.batches(writer.position, 5)), positionAt(5), never);
        const seen = container === 'avro' ? await avroRecordsOfStream(dir, 's') : linesOfStream(dir, 's');
        assert.deepEqual(seen, log.expected(5));
      } finally {
        unmount(dir);
      }
    });
  });
