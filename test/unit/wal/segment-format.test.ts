import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Codec } from '../../../src/wal/compression.ts';
import { BatchHeader, readSegmentFooter, readSegmentStart } from '../../../src/wal/segment-format.ts';
import { batchBytes, footerBytes, headerBytes, TEST_TABLET } from '../../support/segment-bytes.ts';

describe('readSegmentStart', () => {
  it('reads a header, and knows where the entries begin', () => {
    const bytes = headerBytes({ sequenceNumber: 7n, schemaVersion: 3, compressionCodec: Codec.ZLIB });
    const start = readSegmentStart(Buffer.concat([bytes, Buffer.alloc(10)]));
    assert.ok(start.kind === 'header');
    assert.equal(start.endOffset, bytes.length);
    const { schema, ...rest } = start.header;
    assert.deepEqual(rest, {
      tabletId: TEST_TABLET,
      sequenceNumber: 7n,
      schemaVersion: 3,
      codec: Codec.ZLIB,
      batchVersion: 2,
    });
    assert.deepEqual(
      schema.columns.map((column) => column.name),
      ['id'],
    );
  });

  const FAULTS = [
    {
      why: 'incompatible_features (trap 13)',
      bytes: headerBytes({ incompatibleFeatures: [1] }),
      kind: 'unsupported',
      says: /incompatible features 1/,
    },
    {
      why: 'an unknown codec (trap 13)',
      bytes: headerBytes({ compressionCodec: 9 }),
      kind: 'unsupported',
      says: /codec 9/,
    },
    {
      why: 'an unknown data type (trap 13)',
      bytes: headerBytes({ schema: { columns: [{ name: 'a', type: 21, isKey: true }] } }),
      kind: 'unsupported',
      says: /"a" has data type 21/,
    },
    { why: 'encryption', bytes: Buffer.from('kuduenc\0rest of it'), kind: 'encrypted', says: /encrypt_data_at_rest/ },
    { why: 'another magic', bytes: Buffer.from('kuduluck and so on'), kind: 'corrupt', says: /6b7564756c75636b/ },
    {
      why: 'a header of 4 GiB',
      bytes: Buffer.from('kudulogf\xff\xff\xff\xff', 'latin1'),
      kind: 'corrupt',
      says: /4294967295 bytes/,
    },
    {
      why: 'a header that is no message',
      bytes: Buffer.from('kudulogf\x02\0\0\0\xff\xff', 'latin1'),
      kind: 'corrupt',
      says: /cannot be read/,
    },
  ] as const;
  for (const { why, bytes, kind, says } of FAULTS)
    it(`refuses ${why}`, () => {
      const start = readSegmentStart(bytes);
      assert.ok(start.kind === 'fault');
      assert.equal(start.fault.kind, kind);
      assert.match(start.fault.why, says);
    });

  it('takes no codec, and the default one, for none', () => {
    for (const compressionCodec of [0, Codec.NONE]) {
      const start = readSegmentStart(Buffer.concat([headerBytes({ compressionCodec }), Buffer.alloc(16, 1)]));
      assert.equal(start.kind === 'header' && start.header.codec, Codec.NONE);
    }
  });

  it('sees a log of Kudu 1.2 by its version fields', () => {
    const start = readSegmentStart(headerBytes({ DEPRECATEDMajorVersion: 1, DEPRECATEDMinorVersion: 0 }));
    assert.equal(start.kind === 'header' && start.header.batchVersion, 1);
  });

  it('waits for a file that has no first byte yet, and for one that is short', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(12), Buffer.alloc(5000)])
      assert.equal(readSegmentStart(bytes).kind, 'unborn');
    const whole = headerBytes();
    for (let length = 1; length < whole.length; length++) {
      const start = readSegmentStart(whole.subarray(0, length));
      assert.ok(start.kind === 'short', `${length} bytes`);
      assert.equal(start.needBytes, length < 12 ? 12 : whole.length);
    }
  });
});

describe('readSegmentStart of a header that may lack its last byte', () => {
  it('waits until something is written behind it, rather than read the last field as 0', () => {
    const whole = headerBytes({ compressionCodec: Codec.LZ4 });
    const torn = Buffer.concat([whole.subarray(0, whole.length - 1), Buffer.alloc(100)]);
    assert.equal(readSegmentStart(torn).kind, 'unborn');
    assert.equal(readSegmentStart(Buffer.concat([whole, Buffer.alloc(100)])).kind, 'header');
    const endsWithZero = Buffer.concat([headerBytes({ compressionCodec: 0 }), batchBytes(Buffer.from('x'))]);
    assert.equal(readSegmentStart(endsWithZero).kind, 'header');
  });
});

describe('readSegmentFooter', () => {
  it('reads a footer that is all there is behind the last batch', () => {
    assert.deepEqual(readSegmentFooter(footerBytes(42)), {
      entryCount: 42n,
      minReplicateIndex: -1n,
      maxReplicateIndex: -1n,
    });
  });

  it('reads none where anything is before, behind or missing', () => {
    const bytes = footerBytes(42);
    assert.equal(readSegmentFooter(Buffer.concat([Buffer.alloc(1), bytes])), null);
    assert.equal(readSegmentFooter(Buffer.concat([bytes, Buffer.alloc(1)])), null);
    for (let length = 0; length < bytes.length; length++)
      assert.equal(readSegmentFooter(bytes.subarray(0, length)), null);
  });
});

describe('BatchHeader', () => {
  it('reads both versions, tells zeros from damage, and finds every flipped bit', () => {
    const header = new BatchHeader();
    for (const version of [1, 2] as const) {
      const bytes = batchBytes(Buffer.from('payload'), Codec.NONE, version);
      const length = version === 1 ? 12 : 16;
      assert.equal(header.read(bytes, 0, version), 'entry');
      assert.deepEqual([header.storedBytes, header.rawBytes], [7, 7]);
      assert.equal(header.read(Buffer.alloc(16), 0, version), 'zeros');
      for (let bit = 0; bit < length * 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(header.read(flipped, 0, version), 'bad-crc', `bit ${bit}`);
      }
    }
  });
});
