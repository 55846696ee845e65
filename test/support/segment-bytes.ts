import { deflateSync } from 'node:zlib';
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { compressSync as compressLz4 } from 'lz4-napi';
import { compressSync as compressSnappy } from 'snappy';
import {
  LogEntryBatchPBSchema,
  LogSegmentFooterPBSchema,
  LogSegmentHeaderPBSchema,
  type LogSegmentHeaderPB,
} from '../../src/kudu/proto/log_pb.ts';
import { parseOpId } from '../../src/kudu/opid.ts';
import { schemaToPb } from '../../src/kudu/schema-codec.ts';
import { DataType } from '../../src/kudu/schema.ts';
import { crc32c } from '../../src/util/crc32c.ts';
import { Codec } from '../../src/wal/compression.ts';
import { OpType } from '../../src/wal/entry.ts';
import { column } from './row-bytes.ts';

export const TEST_TABLET = '0123456789abcdef0123456789abcdef';

type HeaderInit = Exclude<MessageInitShape<typeof LogSegmentHeaderPBSchema>, LogSegmentHeaderPB>;

/** Magic, length and LogSegmentHeaderPB, with whatever a test wants otherwise. */
export function headerBytes(more: HeaderInit = {}): Buffer {
  const schema = schemaToPb({ columns: [column('id', DataType.INT64, { id: 0, isKey: true })] }, { withIds: true });
  const pb = create(LogSegmentHeaderPBSchema, {
    tabletId: Buffer.from(TEST_TABLET),
    sequenceNumber: 1n,
    schema,
    schemaVersion: 0,
    compressionCodec: Codec.NONE,
    ...more,
  });
  const body = toBinary(LogSegmentHeaderPBSchema, pb);
  return Buffer.concat([Buffer.from('kudulogf'), u32(body.length), body]);
}

/** `R1.2 C1.1`: a LogEntryBatchPB of NO_OPs, proposed and committed. */
export function batchPayload(script: string): Buffer {
  const entry = script.split(' ').map((word) => {
    const id = parseOpId(word.slice(1));
    return word.startsWith('R')
      ? { type: 1, replicate: { id, timestamp: id.index << 12n, opType: OpType.NO_OP } }
      : { type: 2, commit: { opType: OpType.NO_OP, commitedOpId: id } };
  });
  return Buffer.from(toBinary(LogEntryBatchPBSchema, create(LogEntryBatchPBSchema, { entry })));
}

/** A payload with its header, stored as the codec has it; version 1 is that of Kudu 1.2 and older. */
export function batchBytes(payload: Buffer, codec: Codec = Codec.NONE, version: 1 | 2 = 2): Buffer {
  return framed(compress(payload, codec), payload.length, version);
}

/** {@link batchBytes} of bytes that are stored already, whatever they claim to be when raw. */
export function framed(stored: Buffer, rawBytes: number, version: 1 | 2 = 2): Buffer {
  const lengths = version === 1 ? [u32(stored.length)] : [u32(stored.length), u32(rawBytes)];
  const head = Buffer.concat([...lengths, u32(crc32c(stored))]);
  return Buffer.concat([head, u32(crc32c(head)), stored]);
}

export function footerBytes(entries: number): Buffer {
  const pb = create(LogSegmentFooterPBSchema, { numEntries: BigInt(entries), closeTimestampMicros: 1n });
  const body = toBinary(LogSegmentFooterPBSchema, pb);
  return Buffer.concat([body, Buffer.from('closedls'), u32(body.length)]);
}

/** A segment of the scripts' batches: closed with a footer, or open with zeros behind. */
export function segmentBytes(
  scripts: readonly string[],
  options: {
    readonly sequenceNumber?: number;
    readonly closed?: boolean;
    readonly codec?: Codec;
    readonly zeros?: number;
  } = {},
): Buffer {
  const { sequenceNumber = 1, closed = false, codec = Codec.NONE, zeros = 100 } = options;
  return Buffer.concat([
    headerBytes({ sequenceNumber: BigInt(sequenceNumber), compressionCodec: codec }),
    ...scripts.map((script) => batchBytes(batchPayload(script), codec)),
    closed ? footerBytes(scripts.join(' ').split(' ').filter(Boolean).length) : Buffer.alloc(zeros),
  ]);
}

export function compress(raw: Buffer, codec: Codec): Buffer {
  switch (codec) {
    case Codec.NONE:
      return raw;
    case Codec.LZ4:
      return compressLz4(raw).subarray(4); // without the size that only that package puts in front
    case Codec.SNAPPY:
      return compressSnappy(raw);
    case Codec.ZLIB:
      return deflateSync(raw);
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
