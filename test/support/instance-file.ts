import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { InstanceMetadataPBSchema, type InstanceMetadataPB } from '../../src/kudu/proto/fs_pb.ts';
import { crc32c } from '../../src/util/crc32c.ts';

type InstanceInit = Exclude<MessageInitShape<typeof InstanceMetadataPBSchema>, InstanceMetadataPB>;

/** As Kudu's default provider keeps it. */
export function hiddenKey(key: Buffer): string {
  return Buffer.from(key.map((byte) => byte ^ 0x2a)).toString('hex');
}

/** A server's file `instance`: a container with a description, which nobody reads here, and the message. */
export function instanceFile(more: InstanceInit = {}): Buffer {
  const pb = create(InstanceMetadataPBSchema, { uuid: Buffer.from('0'.repeat(32)), formatStamp: 'test', ...more });
  const head = Buffer.concat([Buffer.from('kuducntr'), u32(2)]);
  return Buffer.concat([
    head,
    u32(crc32c(head)),
    record(Buffer.from('a description')),
    record(Buffer.from(toBinary(InstanceMetadataPBSchema, pb))),
  ]);
}

function record(data: Buffer): Buffer {
  const length = u32(data.length);
  return Buffer.concat([length, u32(crc32c(length)), data, u32(crc32c(data))]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
