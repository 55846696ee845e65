import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecordBatch } from '../../../../src/change/record-batch.ts';
import { beginLine, commitLine, LineEncoder, parseBegin, parseCommit } from '../../../../src/sinks/file/lines.ts';
import { parseRecord } from '../../../../src/sinks/file/record-line.ts';
import { positionAt, recordAt } from '../../../contract/sink.ts';

const encode = (...records: ReturnType<typeof recordAt>[]): string[] =>
  new LineEncoder('shop.orders').encode(RecordBatch.of(records)).toString().split('\n');

describe('the lines of a file', () => {
  it('are JSON, with key and value as they were, byte for byte', () => {
    const key = Buffer.from('{"id":9007199254740993,"value":",\\"value\\":[}"}');
    const value = Buffer.from('{"op":"u","pos":",\\"pos\\":1.0","n":[1e400]}');
    const record = recordAt(1, 1, { key, value });
    const [line, rest] = encode(record);
    assert.equal(
      line,
      `{"key":${key.toString()},"value":${value.toString()},"pos":"${record.position}","ts":${record.timestampMs}}`,
    );
    assert.equal(rest, '');
    assert.ok(JSON.parse(line));
    const { position, timestampMs } = record;
    assert.deepEqual(parseRecord(Buffer.from(line)), { kind: '', key, value, position, timestampMs });
  });

  it('say what is no row, and what has no value or key', () => {
    const lines = encode(
      recordAt(1, 1, { kind: 'tombstone', value: null }),
      recordAt(2, 2, { kind: 'schema', isFirst: true }),
      recordAt(3, 3, { kind: 'resolved', key: Buffer.alloc(0), value: null }),
      recordAt(4, 4, { kind: 'dead-letter' }),
    ).slice(0, -1);
    const read = lines.map((line) => parseRecord(Buffer.from(line))!);
    assert.deepEqual(
      read.map(({ kind }) => kind),
      ['', 'schema', 'resolved', 'dead-letter'],
    );
    assert.deepEqual(
      read.map(({ value }) => value === null),
      [true, false, true, false],
    );
    assert.equal(read[2]!.key, null);
    for (const line of lines) assert.ok(JSON.parse(line));
  });

  it('name the table where it changes, and only there', () => {
    const table = 'shop.\u2028"new"';
    const encoder = new LineEncoder('shop.orders');
    const text = encoder
      .encode(RecordBatch.of([recordAt(1), recordAt(2, 2, { table }), recordAt(3, 3, { table })]))
      .toString();
    const lines = text.split('\n');
    assert.equal(lines.length, 5);
    assert.deepEqual(JSON.parse(lines[1]!), { table });
    assert.deepEqual([...encoder.tables], ['shop.orders', table]);
    assert.equal(parseRecord(Buffer.from(lines[1]!)), null);
  });

  it('begin and commit say whole positions', () => {
    const position = { ...positionAt(7), time: (1n << 62n) + 1n };
    const begin = { begin: 3, stream: 's', tablet: 't', table: 'a\nb', previous: { file: 2, bytes: 10 }, position };
    assert.deepEqual(parseBegin(beginLine(begin).trimEnd()), begin);
    const line = commitLine(position, 12, 'a\nb', 99);
    const commit = parseCommit(line)!;
    assert.deepEqual([commit.position, commit.from, commit.table], [position, 12, 'a\nb']);
    for (let length = 0; length < line.length; length++) assert.equal(parseCommit(line.slice(0, length)), null);
  });
});
