import {
  type Api,
  type ErrorCodeNumber,
  type PartitionError,
  type ProducerIdentity,
  decodeErrorCode,
  decodePartitionErrors,
} from './api.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/** A committed offset: partition 0 of `topic` carries it for us. */
export interface OffsetEntry {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly metadata: string;
}

export const ADD_OFFSETS_TO_TXN: Api<
  ProducerIdentity & { readonly groupId: string },
  { readonly errorCode: ErrorCodeNumber }
> = {
  key: 25,
  version: 1,
  name: 'AddOffsetsToTxn',
  encode: ({ transactionalId, producerId, epoch, groupId }) =>
    new ByteWriter().string(transactionalId).int64(producerId).int16(epoch).string(groupId).finish(),
  decode: decodeErrorCode,
};

/** By nobody of the group: it has no members. */
export const OFFSET_COMMIT: Api<
  { readonly groupId: string; readonly offsets: readonly OffsetEntry[] },
  readonly PartitionError[]
> = {
  key: 8,
  version: 5,
  name: 'OffsetCommit',
  encode: ({ groupId, offsets }) => {
    const w = new ByteWriter().string(groupId).int32(-1).string(''); // no generation, no member
    return writeOffsets(w, offsets).finish();
  },
  decode: (bytes) => decodePartitionErrors(new ByteReader(bytes)),
};

/**
 * Every offset of a group. `require_stable` makes the broker answer UNSTABLE_OFFSET_COMMIT while a transaction's
 * offsets are still being settled, instead of the offsets before it: without it a successor could miss a commit
 * whose answer was lost. kafkajs stops at version 4, which does not know it.
 */
export const OFFSET_FETCH: Api<
  { readonly groupId: string },
  {
    readonly errorCode: ErrorCodeNumber;
    readonly offsets: readonly (Omit<OffsetEntry, 'metadata'> & {
      readonly metadata: string | null;
      readonly errorCode: ErrorCodeNumber;
    })[];
  }
> = {
  key: 9,
  version: 7,
  name: 'OffsetFetch',
  encode: ({ groupId }) =>
    new ByteWriter()
      .noTags() // they end the request header of flexible versions
      .compactString(groupId)
      .unsignedVarint(0) // null: all topics
      .boolean(true) // require_stable
      .noTags()
      .finish(),
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    r.tags(); // of the response header
    const throttleMs = r.int32();
    const topics = r.compactArray(() => {
      const topic = r.nullableCompactString() ?? '';
      const partitions = r.compactArray(() => {
        const partition = r.int32();
        const offset = r.int64();
        r.int32(); // leader epoch
        const metadata = r.nullableCompactString();
        const errorCode = r.int16();
        r.tags();
        return { topic, partition, offset, metadata, errorCode };
      });
      r.tags();
      return partitions;
    });
    return { throttleMs, value: { errorCode: r.int16(), offsets: topics.flat() } };
  },
};

function writeOffsets(w: ByteWriter, offsets: readonly OffsetEntry[]): ByteWriter {
  return w.array(offsets, ({ topic, partition, offset, metadata }) =>
    w.string(topic).int32(1).int32(partition).int64(offset).string(metadata),
  );
}
