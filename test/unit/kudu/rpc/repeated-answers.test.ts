import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { KuduError } from '../../../../src/kudu/errors.ts';
import { GetLastOpIdResponsePBSchema } from '../../../../src/kudu/proto/consensus_pb.ts';
import { RepeatedAnswers } from '../../../../src/kudu/rpc/repeated-answers.ts';

const bytesOf = (index: bigint): Uint8Array =>
  toBinary(GetLastOpIdResponsePBSchema, create(GetLastOpIdResponsePBSchema, { opid: { term: 1n, index } }));

describe('answers that come again', () => {
  it('are the same message to the byte, also of a question that is asked in two ways in turn', () => {
    const answers = new RepeatedAnswers();
    const decode = (index: bigint, question = 'q') =>
      answers.decode(question, GetLastOpIdResponsePBSchema, bytesOf(index));
    const [one, two] = [decode(1n), decode(2n)];
    assert.deepEqual([one.opid?.index, two.opid?.index], [1n, 2n]);
    assert.ok(decode(1n) === one && decode(2n) === two && decode(1n) === one);
    const three = decode(3n);
    assert.ok(three !== one && three !== two && decode(3n) === three);
    assert.ok(decode(3n, 'of another server') !== three);
  });

  it('are an error each time where they are no such message', () => {
    const answers = new RepeatedAnswers();
    for (let times = 0; times < 2; times++)
      assert.throws(
        () => answers.decode('q', GetLastOpIdResponsePBSchema, Buffer.from([0xff])),
        (error) => KuduError.is(error, 'protocol'),
      );
  });
});
