import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { avroFormat } from '../../../../src/formats/avro/avro.ts';
import { avroRecordReader } from '../../../../src/formats/avro/avro-reader.ts';
import { RegisteredDecoder } from '../../../../src/formats/typed/registered-decoder.ts';
import { Steps } from '../../../../src/sinks/file/disk.ts';
import { FileReader } from '../../../../src/sinks/file/file-reader.ts';
import { partsOf } from '../../../../src/sinks/file/file-parts.ts';
import { avroRecordsOf } from '../../../../src/sinks/file/file-records.ts';
import { FileSink } from '../../../../src/sinks/file/file-sink.ts';
import type { TabletWriter } from '../../../../src/sinks/sink.ts';
import { isOfKind } from '../../../contract/sink-checks.ts';
import { never, positionAt, recordAt, tabletOf } from '../../../contract/sink-records.ts';
import { asAvroText, fromAvroText, textSchemas } from '../../../support/avro-batches.ts';
import { EDGE_SCHEMA, edgeRows } from '../../../support/edge-values.ts';
import { form } from '../../../support/forms.ts';
import { batches, recordsOf } from '../../../support/record-batches.ts';
import { inserts, registeredFormat, TABLET, writeBatch } from '../../../support/typed-batches.ts';

const root = mkdtempSync(join(tmpdir(), 'spoor-avro-files-'));
after(() => {
  rmSync(root, { recursive: true, force: true });
});
const newDir = (): string => mkdtempSync(join(root, 'dir-'));
const sinkIn = (dir: string, rotateBytes = 1 << 20): FileSink =>
  new FileSink({ dir, rotateBytes, rotateSeconds: 60 }, 'i', 'avro');
const folderOf = (dir: string, tablet = tabletOf('s').tabletId): string => join(dir, 's', 'i.first', tablet);
const filesOf = (dir: string): string[] => readdirSync(folderOf(dir)).filter((name) => /avro|jsonl/.test(name));

interface Seen {
  readonly kind: string;
  readonly table: string;
  readonly key: string | null;
  readonly value: string | null;
  readonly position: string | null;
  readonly timestampMs: number | null;
}

async function readAll(folder: string): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  const steps = new Steps(never);
  for (const part of await partsOf(folder, 'lane', steps))
    for await (const records of avroRecordsOf(part, steps))
      for (const { kind, table, record } of records) {
        const { key, value, position, timestampMs } = record;
        const textOf = (bytes: Buffer | null): string | null =>
          bytes && (kind === '' ? fromAvroText(bytes) : bytes.toString());
        seen.push({ kind, table, key: textOf(key), value: textOf(value), position, timestampMs });
      }
  return seen;
}

const kinds = ['row', 'row', 'row', 'tombstone', 'schema', 'resolved', 'dead-letter'] as const;
const record = fc.record({
  kind: fc.constantFrom(...kinds),
  table: fc.constantFrom('shop.orders', 'shop.größe'),
  key: fc.string({ unit: 'binary', minLength: 1 }),
  value: fc.string({ unit: 'binary' }),
  version: fc.constantFrom(0, 0, 0, 1, 2),
});
/** Writes, each of some batches; and whether their writer is another one. */
const writes = fc.array(
  fc.record({ lists: fc.array(fc.array(record, { maxLength: 4 }), { maxLength: 3 }), isNew: fc.boolean() }),
  { maxLength: 8 },
);

describe('files of Avro', () => {
  it('give back what was written, whatever it was, however the schema changes and writers take turns', async () => {
    await fc.assert(
      fc.asyncProperty(writes, fc.constantFrom(200, 2000, 1 << 20), async (asked, rotateBytes) => {
        const dir = newDir();
        const expected: Seen[] = [];
        const writers: TabletWriter[] = [await sinkIn(dir, rotateBytes).openTablet(tabletOf('s'), never)];
        let index = 0;
        for (const { lists, isNew } of asked) {
          if (isNew) writers.push(await sinkIn(dir, rotateBytes).openTablet(tabletOf('s'), never));
          const records = lists.map((list) =>
            list.map(({ kind, table, key, value, version }): SinkRecord => {
              const made = recordAt(++index, 0, { kind, table, key: Buffer.from(key), value: Buffer.from(value) });
              const hasNone = kind === 'tombstone' || kind === 'resolved';
              const whole = {
                ...made,
                ...(hasNone && { value: null }),
                ...(kind === 'resolved' && { key: Buffer.alloc(0) }),
              };
              const isRow = kind === 'row' || kind === 'tombstone';
              expected.push({
                kind: isRow ? '' : kind,
                table,
                key: kind === 'resolved' ? null : key,
                value: hasNone ? null : value,
                position: made.position,
                timestampMs: made.timestampMs,
              });
              return asAvroText(whole, textSchemas(version));
            }),
          );
          await writers.at(-1)!.write(batches(...records), positionAt(++index), never);
        }
        assert.deepEqual(await readAll(folderOf(dir)), expected);
        for (const writer of writers) await writer[Symbol.asyncDispose]();
        {
          await using last = await sinkIn(dir).openTablet(tabletOf('s'), never);
          assert.deepEqual(last.position, asked.length === 0 ? null : positionAt(index));
          assert.equal(
            filesOf(dir).filter((name) => !name.endsWith('.avro')).length,
            1,
            'all but its own are published',
          );
        }
        assert.deepEqual(await readAll(folderOf(dir)), expected);
        rmSync(dir, { recursive: true });
      }),
      { numRuns: form(12, 200) },
    );
  });

  it('and those of lines are read whole while they get their names', async () => {
    for (const container of ['avro', 'lines'] as const) {
      const dir = newDir();
      const sink = new FileSink({ dir, rotateBytes: 1024, rotateSeconds: 60 }, 'i', container);
      let written = 0;
      let writer: TabletWriter | null = null;
      const writing = (async () => {
        for (let index = 1; index <= 60; index++) {
          if (index % 20 === 1) await writer?.[Symbol.asyncDispose]();
          if (index % 20 === 1) writer = await sink.openTablet(tabletOf('s'), never);
          const made = container === 'avro' ? asAvroText(recordAt(index), textSchemas(index >> 3)) : recordAt(index);
          await writer!.write(batches([made]), positionAt(index), never);
          written = index;
        }
      })();
      for (let isDone = false; !isDone;) {
        isDone = written === 60;
        const before = written;
        await using reader = new FileReader(dir, 's');
        const positions: (string | null)[] = [];
        for await (const some of reader.read(reader.destinationOf('shop.orders'), never))
          positions.push(...some.map(({ position }) => position));
        assert.ok(positions.length >= before, `${positions.length} of ${before}`);
        assert.deepEqual(
          positions,
          positions.map((_, i) => recordAt(i + 1).position),
        );
      }
      await writing;
      await (writer as TabletWriter | null)?.[Symbol.asyncDispose]();
    }
  });

  it('have one schema each, and the positions of their first and last record in their names', async () => {
    const dir = newDir();
    const rows = [1, 2, 3, 4].map((index) => asAvroText(recordAt(index), textSchemas(index >> 1)));
    {
      await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
      await writer.write(batches(rows), positionAt(4), never);
      assert.match(filesOf(dir).join(), /^0000000001-000\.[\w-]+\.avro\.open,.*0000000001\.avro\.journal$/);
    }
    await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
    assert.deepEqual(filesOf(dir), [
      '0000000001-000_3.1.0_3.1.0.avro',
      '0000000001-001_3.2.0_3.3.0.avro',
      '0000000001-002_3.4.0_3.4.0.avro',
      '0000000002.avro.journal',
    ]);
    assert.equal(readFileSync(join(folderOf(dir), filesOf(dir)[0]!)).toString('latin1', 0, 4), 'Obj\x01');
    assert.deepEqual(writer.position, positionAt(4));
  });

  it('refuse rows that do not tell their schema', async () => {
    await using writer = await sinkIn(newDir()).openTablet(tabletOf('s'), never);
    const written = writer.write(batches([recordAt(1)]), positionAt(1), never);
    await assert.rejects(written, (error) => isOfKind(error, 'refused') && /leave registry out/.test(error.message));
  });

  it('and of lines stand in one folder, whichever the stream had before', async () => {
    const dir = newDir();
    const lines = (): FileSink => new FileSink({ dir, rotateBytes: 1 << 20, rotateSeconds: 60 }, 'i', 'lines');
    for (const index of [1, 2, 3, 4]) {
      await using writer = await (index % 2 === 1 ? lines() : sinkIn(dir)).openTablet(tabletOf('s'), never);
      assert.deepEqual(writer.position, index === 1 ? null : positionAt(index - 1));
      const own = index % 2 === 1 ? recordAt(index) : asAvroText(recordAt(index), textSchemas(0));
      await writer.write(batches([own]), positionAt(index), never);
    }
    await using reader = new FileReader(dir, 's');
    const positions: (string | null)[] = [];
    const files: string[] = [];
    for await (const some of reader.read(reader.destinationOf('shop.orders'), never))
      for (const { position, place } of some) {
        positions.push(position);
        files.push(String(reader.show(place).fields['file']).split('/').at(-1)!.slice(10));
      }
    assert.deepEqual(
      positions,
      [1, 2, 3, 4].map((index) => recordAt(index).position),
    );
    assert.deepEqual(files.slice(0, 3), ['_3.1.0_3.1.0.jsonl', '-000_3.2.0_3.2.0.avro', '_3.3.0_3.3.0.jsonl']);
  });

  it('hold the records of the stream byte for byte: its decoder reads them without a registry', async () => {
    const dir = newDir();
    const options = {
      names: 'avro',
      decimals: 'precise',
      time: 'adaptive',
      streamName: 'orders',
      version: '0.1.0',
    } as const;
    const format = registeredFormat(avroFormat(options), undefined, { ids: null });
    const batch = writeBatch(EDGE_SCHEMA, inserts(edgeRows()));
    await format.prepare([batch], never);
    const records = recordsOf(format, batch);
    const tablet = tabletOf('s', { tabletId: TABLET.tabletId });
    await using writer = await sinkIn(dir).openTablet(tablet, never);
    await writer.write(batches(records), positionAt(1), never);
    await using reader = new FileReader(dir, 's');
    const decoder = new RegisteredDecoder({
      ...options,
      images: 'after',
      registry: null,
      compile: avroRecordReader,
      times: 'adaptive',
    });
    let count = 0;
    for await (const some of reader.read(reader.destinationOf(TABLET.tableName), never))
      for (const stored of some) {
        const { key, value, schemas } = records[count]!;
        assert.deepEqual([stored.key, stored.value], [key, value]);
        assert.deepEqual(stored.schemas, schemas);
        const decoded = decoder.decode(stored);
        assert.ok(decoded.kind === 'row' && decoded.index === 12345 && decoded.row === count);
        count++;
      }
    assert.equal(count, records.length);
  });
});
