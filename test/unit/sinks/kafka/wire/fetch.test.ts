import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import { ByteWriter } from '../../../../../src/sinks/kafka/wire/bytes.ts';
import { FETCH, FIRST_OFFSETS, LAST_STABLE_OFFSETS } from '../../../../../src/sinks/kafka/wire/fetch.ts';

// Somebody else's writing of the same requests: kafkajs's.
const require = createRequire(import.meta.url);
type Request = (fields: object) => { encode(): Promise<{ readonly buffer: Buffer }> };
const fetchRequest = require('kafkajs/src/protocol/requests/fetch/v10/request') as Request;
const listOffsetsRequest = require('kafkajs/src/protocol/requests/listOffsets/v2/request') as Request;

describe('FETCH', () => {
  it('asks as another implementation does', async () => {
    const { buffer } = await fetchRequest({
      replicaId: -1,
      maxWaitTime: 500,
      minBytes: 1,
      maxBytes: 1 << 21,
      isolationLevel: 1,
      topics: [
        {
          topic: 'cdc.t',
          partitions: [{ partition: 3, fetchOffset: '1099511627776', logStartOffset: -1, maxBytes: 1 << 21 }],
        },
      ],
    }).encode();
    const request = { topic: 'cdc.t', partition: 3, offset: 2n ** 40n, maxBytes: 1 << 21, maxWaitMs: 500 };
    assert.deepEqual(FETCH.encode(request), buffer);
  });

  const answer = (errorCode: number, partitions: number, aborted: readonly bigint[] | null): Buffer => {
    const w = new ByteWriter().int32(7).int16(errorCode).int32(0);
    w.array(['cdc.t'], (topic) =>
      w.string(topic).array(new Array(partitions).fill(3), () => {
        w.int32(3).int16(6).int64(100n).int64(90n).int64(10n);
        if (aborted === null) w.int32(-1);
        else w.array(aborted, (producerId) => w.int64(producerId).int64(producerId + 50n));
        w.int32(3).int8(1).int8(2).int8(3);
      }),
    );
    return w.finish();
  };

  it('reads the records and what was aborted among them', () => {
    const records = Buffer.from([1, 2, 3]);
    assert.deepEqual(FETCH.decode(answer(0, 1, [4n, 2n])), {
      throttleMs: 7,
      value: {
        errorCode: 6,
        aborted: [
          { producerId: 4n, firstOffset: 54n },
          { producerId: 2n, firstOffset: 52n },
        ],
        records,
      },
    });
    assert.deepEqual(FETCH.decode(answer(0, 1, null)).value, { errorCode: 6, aborted: [], records });
  });

  it('tells a broker that says nothing from one that has nothing', () => {
    assert.deepEqual(FETCH.decode(answer(0, 0, [])), { throttleMs: 7, value: null });
    assert.equal(FETCH.decode(answer(71, 0, [])).value?.errorCode, 71);
  });
});

describe('FIRST_OFFSETS and LAST_STABLE_OFFSETS', () => {
  it('ask as another implementation does', async () => {
    for (const [api, timestamp] of [
      [FIRST_OFFSETS, -2],
      [LAST_STABLE_OFFSETS, -1],
    ] as const) {
      const partitions = [0, 4].map((partition) => ({ partition, timestamp }));
      const request = listOffsetsRequest({
        replicaId: -1,
        isolationLevel: 1,
        topics: [{ topic: 'cdc.t', partitions }],
      });
      assert.deepEqual(api.encode([{ topic: 'cdc.t', partitions: [0, 4] }]), (await request.encode()).buffer);
    }
  });

  it('read an offset of each partition', () => {
    const w = new ByteWriter().int32(0);
    w.array(['cdc.t'], (topic) =>
      w.string(topic).array([0, 4], (partition) =>
        w
          .int32(partition)
          .int16(partition)
          .int64(-1n)
          .int64(2n ** 40n),
      ),
    );
    assert.deepEqual(
      FIRST_OFFSETS.decode(w.finish()).value,
      [0, 4].map((partition) => ({ topic: 'cdc.t', partition, errorCode: partition, offset: 2n ** 40n })),
    );
  });
});
