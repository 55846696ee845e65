import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { METADATA } from '../../../../../src/sinks/kafka/wire/cluster-apis.ts';
import { ByteReader, ByteWriter } from '../../../../../src/sinks/kafka/wire/bytes.ts';

/** What a broker of Kafka 4.3.1 answered, and took as a request; two topics were asked for, one was there. */
const REQUEST =
  '00' + // header: no tags
  '03' + // two topics
  '0000000000000000000000000000000010' +
  Buffer.from('cdc.shop.orders').toString('hex') +
  '00' +
  '0000000000000000000000000000000007' +
  Buffer.from('absent').toString('hex') +
  '00' +
  '000000' + // no creation, no operations
  '00';
const ANSWER =
  '000000000002000000010a3132372e302e302e3100004bdc00001763334276623349746447567a6443317259575a7259510000000103000010' +
  '6364632e73686f702e6f7264657273c55e2c6b7f0740fcb23401d56d5ab78b00030000000000000000000100000000020000000102000000' +
  '01010000000000000100000001000000000200000001020000000101008000000000000307616273656e7400000000000000000000000000' +
  '000000000180000000008000000000';

describe('Metadata', () => {
  const partitions = [0, 1].map((partition) => ({ errorCode: 0, partition, leader: 1 }));
  const nodes = [{ nodeId: 1, host: '127.0.0.1', port: 19420 }];

  it('asks for topics by their names, and for none to be made', () => {
    assert.equal(METADATA.encode(['cdc.shop.orders', 'absent']).toString('hex'), REQUEST);
    assert.equal(METADATA.encode([]).toString('hex'), '000100000000', 'no topic, which is not all of them');
  });

  it('tells which making of a topic it is, as kafka-topics.sh prints it, and none of one that is not there', () => {
    assert.deepEqual(METADATA.decode(Buffer.from(ANSWER, 'hex')), {
      throttleMs: 0,
      value: {
        nodes,
        clusterId: 'c3Bvb3ItdGVzdC1rYWZrYQ',
        controller: 1,
        topics: [
          { errorCode: 0, name: 'cdc.shop.orders', id: 'xV4sa38HQPyyNAHVbVq3iw', operations: null, partitions },
          { errorCode: 3, name: 'absent', id: null, operations: null, partitions: [] },
        ],
      },
    });
  });

  it('says so when the answer ends early', () => {
    const unread = 5; // operations and tags of the whole
    for (let end = 0; end < ANSWER.length / 2 - unread; end++)
      assert.throws(() => METADATA.decode(Buffer.from(ANSWER, 'hex').subarray(0, end)), RangeError, `at ${end}`);
  });

  it('of a broker before 2.8 is read without ids', () => {
    const { older } = METADATA;
    assert.ok(older !== undefined && older.version < 10);
    const w = new ByteWriter().int32(7);
    w.array(nodes, ({ nodeId, host, port }) => w.int32(nodeId).string(host).int32(port).string('rack'));
    w.string('id').int32(1);
    w.array(['cdc.shop.orders'], (topic) =>
      w
        .int16(0)
        .string(topic)
        .boolean(false)
        .array(partitions, ({ errorCode, partition, leader }) => {
          w.int16(errorCode).int32(partition).int32(leader);
          for (let list = 0; list < 3; list++) w.array([leader], (id) => w.int32(id));
        }),
    );
    const topics = [{ errorCode: 0, name: 'cdc.shop.orders', id: null, operations: null, partitions }];
    assert.deepEqual(older.decode(w.finish()), {
      throttleMs: 7,
      value: { nodes, clusterId: 'id', controller: 1, topics },
    });
    const r = new ByteReader(older.encode(['a', 'b']));
    assert.deepEqual([r.array(() => r.string()), r.boolean()], [['a', 'b'], false]);
  });
});
