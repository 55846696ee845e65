import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { dumpWal } from '../../../src/cli/wal-dump.ts';
import { SpoorError } from '../../../src/errors.ts';
import { ReplicateMsgSchema } from '../../../src/kudu/proto/consensus_pb.ts';
import { LogEntryBatchPBSchema } from '../../../src/kudu/proto/log_pb.ts';
import { DataType } from '../../../src/kudu/schema.ts';
import { encodeMarker } from '../../../src/change/apply-marker.ts';
import type { ReplicateEntry } from '../../../src/wal/entry.ts';
import { encryptedSegment, goldenWal } from '../../support/golden-wal.ts';
import { opId, write, writeExtension } from '../../support/log-entries.ts';
import { column } from '../../support/row-bytes.ts';
import { batchBytes, headerBytes, segmentBytes, TEST_TABLET } from '../../support/segment-bytes.ts';

type Line = Readonly<Record<string, unknown>>;

async function dump(path: string): Promise<Line[]> {
  const lines: Line[] = [];
  await dumpWal(path, (line) => lines.push(JSON.parse(line) as Line));
  return lines;
}

describe('spoor wal dump', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'spoor-dump-'));
  });
  after(async () => {
    await rm(dir, { recursive: true });
  });

  it('prints the header, each entry, and how the segment ends', async () => {
    const { path, expected } = goldenWal('closed');
    const lines = await dump(path);
    const [header, ...entries] = lines;
    const end = entries.pop()!;
    assert.deepEqual(
      { ...header, path: '', columns: 0, tablet_id: '' },
      {
        kind: 'segment',
        path: '',
        tablet_id: '',
        sequence_number: 1,
        schema_version: 0,
        codec: 'LZ4',
        batch_version: 2,
        columns: 0,
      },
    );
    assert.deepEqual((header!.columns as Line[])[0], { id: 0, name: 'id', type: 'INT64', key: true });
    assert.deepEqual(
      entries.map((line) => [line.kind, line.op_id]),
      expected.map((entry) => [entry.kind, entry.opId]),
    );
    assert.equal(end.end, 'closed');
    assert.equal(end.entries, expected.length);
  });

  it('says how many rows of which kind a write has, and how many were applied', async () => {
    const lines = await dump(goldenWal('leader-lz4').path);
    const { expected } = goldenWal('leader-lz4');
    for (const commit of expected) {
      if (commit.kind !== 'commit' || commit.op !== 'WRITE_OP') continue;
      const write = lines.find((line) => line.kind === 'replicate' && line.op_id === commit.opId)!;
      const result = lines.find((line) => line.kind === 'commit' && line.op_id === commit.opId)!;
      const rows = Object.values(write.rows as Record<string, number>).reduce((sum, count) => sum + count, 0);
      assert.equal(rows, commit.results!.length);
      assert.equal(result.applied, commit.results!.replaceAll('0', '').length);
      assert.equal(result.not_applied, rows - result.applied);
    }
  });

  it('prints neither row values nor tokens (trap 54)', async () => {
    for (const name of ['leader-lz4', 'altered', 'transaction']) {
      const { path } = goldenWal(name);
      for (const line of await dump(path)) {
        assert.deepEqual(
          Object.keys(line).filter((key) => !ALLOWED.has(key)),
          [],
        );
        if (typeof line.rows === 'object')
          for (const [kind, count] of Object.entries(line.rows as object)) {
            assert.match(kind, /^(INSERT|UPSERT|UPDATE|DELETE)(_IGNORE)?$/);
            assert.equal(typeof count, 'number');
          }
      }
    }
  });

  it('shows an apply marker, and of any other extension its size alone', async () => {
    const marker = encodeMarker({
      sidecar: 'tserver-1:7050',
      streams: [
        {
          generation: 'b7c2',
          position: { opId: opId(7, 1042), tableName: 'shop.orders', schemaVersion: 3 },
          sink: 'kafka:Q3x',
        },
      ],
    });
    const schema = { columns: [column('id', DataType.INT8, { isKey: true })] };
    const path = join(dir, 'wal-000000002');
    const secret = Buffer.from('secret: 4711');
    const rows = [{ op: 1, cells: [Buffer.of(9)] }];
    await writeFile(
      path,
      Buffer.concat([
        headerBytes({}),
        ...[
          writeExtension(opId(1, 2), schema, marker),
          writeExtension(opId(1, 3), schema, secret),
          write(opId(1, 4), schema, rows, { extension: marker }),
        ].map((entry) => batchBytes(payloadOf(entry))),
      ]),
    );
    const [, ...lines] = await dump(path);
    assert.deepEqual(
      lines.slice(0, 3).map(({ op_id, rows, marker, extension_bytes }) => ({ op_id, rows, marker, extension_bytes })),
      [
        {
          op_id: '1.2',
          rows: {},
          marker: {
            sidecar: 'tserver-1:7050',
            streams: [
              { generation: 'b7c2', sink: 'kafka:Q3x', op_id: '7.1042', table: 'shop.orders', schema_version: 3 },
            ],
          },
          extension_bytes: undefined,
        },
        { op_id: '1.3', rows: {}, marker: undefined, extension_bytes: secret.length },
        { op_id: '1.4', rows: { INSERT: 1 }, marker: undefined, extension_bytes: undefined },
      ],
    );
    assert.ok(!JSON.stringify(lines).includes('4711'));
  });

  it('reads the segments of a folder in their order', async () => {
    const folder = await mkdtemp(join(dir, 'log-'));
    for (const number of [11, 9, 10])
      await writeFile(
        join(folder, `wal-${String(number).padStart(9, '0')}`),
        segmentBytes([`R1.${number}`], { sequenceNumber: number }),
      );
    await writeFile(join(folder, 'index.000000000'), 'not a segment');
    const lines = await dump(folder);
    assert.deepEqual(
      lines.map((line) => line.sequence_number ?? line.op_id ?? line.end),
      [9, '1.9', 'zeros', 10, '1.10', 'zeros', 11, '1.11', 'zeros'],
    );
    assert.equal(lines[0]!.tablet_id, TEST_TABLET);
    assert.deepEqual(await dump(dirname(goldenWal('closed').path)), await dump(goldenWal('closed').path));
  });

  it('prints what is good, and then says which file, which byte and why', async () => {
    const bad = join(dir, 'wal-000000001');
    await writeFile(bad, encryptedSegment());
    await assert.rejects(dump(bad), (e) => e instanceof SpoorError && e.code === 'SPOOR_WAL_ENCRYPTED');
    await writeFile(bad, headerBytes({ compressionCodec: 9 }));
    await assert.rejects(
      dump(bad),
      (e) => e instanceof SpoorError && e.code === 'SPOOR_WAL_UNSUPPORTED' && e.message.startsWith(`${bad} byte 0: `),
    );
    await assert.rejects(dump(join(dir, 'nowhere')), { code: 'ENOENT' });
    await assert.rejects(dump(await mkdtemp(join(dir, 'empty-'))), /holds no log segments/);
  });
});

/** The LogEntryBatchPB of one REPLICATE. */
function payloadOf({ body }: ReplicateEntry): Buffer {
  const entry = [{ type: 1, replicate: fromBinary(ReplicateMsgSchema, body) }];
  return Buffer.from(toBinary(LogEntryBatchPBSchema, create(LogEntryBatchPBSchema, { entry })));
}

const ALLOWED = new Set([
  ...['kind', 'path', 'tablet_id', 'sequence_number', 'schema_version', 'codec', 'batch_version', 'columns'],
  ...['offset', 'op_id', 'op', 'hybrid_time', 'time', 'rows', 'bytes', 'txn_id', 'auto_increment_counter'],
  ...[
    'marker',
    'extension_bytes',
    'table',
    'step',
    'applied',
    'not_applied',
    'failed',
    'end',
    'entries',
    'min_index',
    'max_index',
  ],
]);
